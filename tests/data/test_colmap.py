"""COLMAP models that COLMAP's own library wrote come back as they were; damage is one sentence with the file."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.colmap_workspace import CAPTURE, POINTS, write_depth, write_model, write_workspace
from helpers.small_capture import INTRINSICS, SIZE
from labelfree.cli.main import main
from labelfree.data.checking.check import check_collection
from labelfree.data.collection import layout_of, open_scenes
from labelfree.data.colmap.layout import COLMAP
from labelfree.data.colmap.models import MODELS, read_cameras, read_images, read_points
from labelfree.data.colmap.workspace import KEYS, ColmapDescription, read_workspace_description
from labelfree.data.layout import ReadOptions
from labelfree.data.ply import write_ply
from labelfree.errors import InputError
from labelfree.scene import Scene

pycolmap = pytest.importorskip("pycolmap")
MANUAL = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")
NAMES = [f"frame{number}" for number in range(4)]


def only_scene(path: Path) -> Scene:
    scenes = open_scenes(path)
    assert len(scenes) == 1
    return scenes[0]


def depth_of(scene: Scene) -> NDArray[np.float32]:
    depth_m = scene.frames[1].load_depth_m()
    assert depth_m is not None
    return depth_m


def lacks(path: Path, options: ReadOptions | None = None) -> str:
    """Return the only problem that the check finds, or the error of opening."""
    try:
        (report,) = check_collection(open_scenes(path, options=options))
    except InputError as error:
        return str(error)
    assert len(report.problems) == 1, report.problems
    assert "\n" not in report.problems[0]
    return report.problems[0]


@pytest.mark.parametrize("text", [False, True])
def test_a_model_comes_back(tmp_path: Path, text: bool) -> None:
    scene = only_scene(write_workspace(tmp_path / "room", text=text))
    assert layout_of(tmp_path / "room").name == "colmap"
    assert [frame.name for frame in scene.frames] == NAMES
    for frame, pose, depth, image in zip(scene.frames, CAPTURE.world_to_camera, CAPTURE.depths_m, CAPTURE.images):
        np.testing.assert_allclose(frame.world_to_camera, pose, atol=1e-9)
        np.testing.assert_allclose(frame.intrinsics, INTRINSICS)
        np.testing.assert_array_equal(frame.load_depth_m(), depth)
        np.testing.assert_array_equal(frame.load_image(), image)


@pytest.mark.parametrize("text", [False, True])
def test_the_reader_agrees_with_colmaps_own(tmp_path: Path, text: bool) -> None:
    folder = write_workspace(tmp_path / "room", dense=False, text=text) / "sparse" / "0"
    own = pycolmap.Reconstruction(str(folder))
    for image in read_images(folder):
        theirs = own.find_image_with_name(image.name)
        np.testing.assert_allclose(image.world_to_camera[:3], theirs.cam_from_world().matrix(), atol=1e-9)
        np.testing.assert_allclose(
            read_cameras(folder)[image.camera].intrinsics, own.camera(theirs.camera_id).calibration_matrix()
        )
    found = read_points(folder)
    theirs_points = np.array([point.xyz for _, point in sorted(own.points3D.items())])
    assert {tuple(row) for row in found.points} == {tuple(row) for row in theirs_points}
    assert len(found.points) == len(theirs_points) > 100
    assert (found.colours == (200, 100, 50)).all()


def test_the_camera_models_are_colmaps() -> None:
    theirs = {int(model): name for name, model in pycolmap.CameraModelId.__members__.items() if int(model) >= 0}
    assert {number: name for number, (name, _) in MODELS.items()} == theirs
    for number, (_, count) in MODELS.items():
        camera = pycolmap.Camera.create_from_model_id(1, pycolmap.CameraModelId(number), 500.0, 640, 480)
        assert len(camera.params) == count


def test_the_depth_map_is_colmaps(tmp_path: Path) -> None:
    write_depth(tmp_path / "a.bin", CAPTURE.depths_m[0])
    theirs = pycolmap.DepthMap()
    theirs.read(str(tmp_path / "a.bin"))
    np.testing.assert_array_equal(theirs.to_array(), CAPTURE.depths_m[0])


def test_the_check_finds_it_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_workspace(tmp_path / "room")
    assert main(["check", str(tmp_path / "room")]) == 0
    told = "".join(capsys.readouterr())
    assert "no metric scale; 1 unit is taken as 1 m, which makes it" in told
    assert "1 camera(s), PINHOLE" in told
    assert "sound" in told


def test_scale_and_up_make_it_metric_and_upright(tmp_path: Path) -> None:
    write_workspace(tmp_path / "metres")
    write_workspace(tmp_path / "units", scale=4.0)
    keys = "layout: colmap\nroot: units\nmetres_per_unit: 0.25\n"
    (tmp_path / "scaled.yaml").write_text(keys)
    (tmp_path / "turned.yaml").write_text(f"{keys}up: [0, -2, 0]\n")
    plain, scaled, turned = (only_scene(tmp_path / name) for name in ("metres", "scaled.yaml", "turned.yaml"))
    assert len(plain) == len(scaled)
    np.testing.assert_allclose(scaled.points_world, plain.points_world, atol=1e-6)
    np.testing.assert_allclose(scaled.frames[1].world_to_camera, plain.frames[1].world_to_camera, atol=1e-9)
    np.testing.assert_allclose(depth_of(scaled), depth_of(plain), rtol=1e-6)
    assert not any("no metric scale" in note for note in open_scenes(tmp_path / "scaled.yaml").notes)
    assert turned.z_up
    for before, after in zip(scaled.frames, turned.frames):  # up is -y in the room
        x, y, z = before.camera_to_world[:3, 3]
        np.testing.assert_allclose(after.camera_to_world[:3, 3], (x, z, -y), atol=1e-9)


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 0, -1), (1, 2, -3), (0, -1, 0)])
def test_any_up_becomes_z(up: tuple[float, float, float]) -> None:
    turn = ColmapDescription(up=up).turn()
    np.testing.assert_allclose(turn @ up / np.linalg.norm(up), (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_the_fused_cloud_is_preferred_to_sparse_points(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "room", dense=False)
    scenes = open_scenes(folder)
    assert len(scenes[0]) == len(POINTS[::20])
    assert any("even behind a wall" in note for note in scenes.notes)
    write_ply(folder / "fused.ply", POINTS)
    dense = open_scenes(folder)
    np.testing.assert_array_equal(dense[0].points_world, POINTS)
    assert not any("even behind a wall" in note for note in dense.notes)


def test_the_dense_folder_is_preferred(tmp_path: Path) -> None:
    write_workspace(tmp_path / "scan", dense=False)
    write_workspace(tmp_path / "scan" / "dense" / "0")
    assert only_scene(tmp_path / "scan").frames[0].depth is not None


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_a_scale_that_cannot_be_metres_is_one_sentence(tmp_path: Path, scale: float) -> None:
    write_workspace(tmp_path / "room", scale=scale)
    assert "with metres_per_unit 1; state metres_per_unit in a description" in lacks(tmp_path / "room")
    (tmp_path / "own.yaml").write_text(f"layout: colmap\nroot: room\nmetres_per_unit: {1 / scale}\n")
    (report,) = check_collection(open_scenes(tmp_path / "own.yaml"))
    assert report.problems == ()


def test_empty_depth_maps_are_one_sentence(tmp_path: Path) -> None:
    write_workspace(tmp_path / "room", scale=0.0)
    assert "neither it nor another depth map has a value above 0" in lacks(tmp_path / "room")


def test_a_folder_of_workspaces_and_other_models(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_workspace(tmp_path / name, dense=False)
    write_model(tmp_path / "b" / "sparse" / "1", ["x.png"], [np.eye(4)], ("PINHOLE", SIZE, (9, 9, 9, 9)), POINTS[:1])
    scenes = open_scenes(tmp_path, options=ReadOptions(every=2, limit=1))
    assert scenes.names == ("a", "b")
    assert [frame.name for frame in scenes[1].frames] == NAMES[:1]
    assert sum("1 other model(s) beside it are not" in note for note in scenes.notes) == 1
    survey = COLMAP.survey(tmp_path, None, ReadOptions(), lambda done, total: None)
    assert [(count.what, count.found) for count in survey.counts] == [("models", 2), ("images", 8)]
    assert survey.problems == ()


def test_images_in_folders_and_of_another_size(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "room", dense=False, sub="left/")
    for path in (folder / "images" / "left").iterdir():
        Image.open(path).resize((SIZE[1] // 2, SIZE[0] // 2)).save(path)
    frame = only_scene(folder).frames[0]
    assert (frame.name, frame.size) == ("frame0", (SIZE[0] // 2, SIZE[1] // 2))
    np.testing.assert_allclose(frame.intrinsics[:2], INTRINSICS[:2] / 2)


def test_names_that_share_a_stem_stay_apart(tmp_path: Path) -> None:
    names = ["left/a.png", "right/a.png"]
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        Image.fromarray(CAPTURE.images[0]).save(tmp_path / "images" / name)
    camera = ("SIMPLE_PINHOLE", SIZE, (70.0, 48.0, 36.0))
    write_model(tmp_path / "sparse", names, CAPTURE.world_to_camera, camera, POINTS[:50])
    assert [frame.name for frame in only_scene(tmp_path).frames] == ["left-a", "right-a"]


@pytest.mark.parametrize(
    ("model", "values", "said"),
    [
        ("SIMPLE_RADIAL", (70, 48, 36, -0.01), "0.01 is small enough to be ignored"),
        ("RADIAL", (70, 48, 36, 0.1, -0.3), "0.3 is ignored: undistort the images with 'colmap image_undistorter'"),
        ("OPENCV", (70, 70, 48, 36, 0, 0, 0, 0.05), "0.05 is ignored"),
    ],
)
def test_lens_distortion_is_said(tmp_path: Path, model: str, values: tuple[float, ...], said: str) -> None:
    folder = write_workspace(tmp_path / "room", dense=False)
    names = [f"{name}.png" for name in NAMES]
    write_model(folder / "sparse" / "0", names, CAPTURE.world_to_camera, (model, SIZE, values), POINTS[:9])
    scenes = open_scenes(folder)
    assert any(said in note for note in scenes.notes)
    np.testing.assert_allclose(scenes[0].frames[0].intrinsics, INTRINSICS)


def test_images_without_a_depth_map_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "room")
    (folder / "stereo" / "depth_maps" / "frame1.png.geometric.bin").unlink()
    scenes = open_scenes(folder)
    assert [frame.name for frame in scenes[0].frames] == ["frame0", "frame2", "frame3"]
    assert any("1 images have no depth map and are left out" in note for note in scenes.notes)


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def change(file: Path, start: int, layout: str, value: float | bytes) -> None:
    data = bytearray(file.read_bytes())
    struct.pack_into(layout, data, start, value)
    file.write_bytes(data)


def rename(folder: Path, name: bytes) -> None:
    """Replace the name of the first image by one of equal length."""
    file = folder / "sparse" / "images.bin"
    file.write_bytes(file.read_bytes().replace(b"frame0.png", name, 1))


CUT_PLY = (
    b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nproperty float y\nproperty float z\n"
    b"end_header\n1234"
)
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cameras cut off": (lambda r: cut(r / "sparse" / "cameras.bin", 30), "cameras.bin: is cut off after 30 bytes"),
    "images cut off": (lambda r: cut(r / "sparse" / "images.bin", 200), "images.bin: is cut off after 200 bytes"),
    "images empty": (lambda r: cut(r / "sparse" / "images.bin", 0), "images.bin: is empty"),
    "no image": (lambda r: (r / "sparse" / "images.bin").write_bytes(bytes(8)), "holds no registered image"),
    "no camera": (lambda r: (r / "sparse" / "cameras.bin").write_bytes(bytes(8)), "cameras.bin: holds no camera"),
    "fisheye": (
        lambda r: change(r / "sparse" / "cameras.bin", 12, "<i", 15),
        "camera 1 has model FISHEYE, which is no pinhole camera; undistort the images with 'colmap image_undistorter'",
    ),
    "unknown camera": (lambda r: change(r / "sparse" / "cameras.bin", 12, "<i", 99), "unknown model '99'"),
    "nan focal length": (lambda r: change(r / "sparse" / "cameras.bin", 32, "<d", np.nan), "finite parameters"),
    "negative focal length": (lambda r: change(r / "sparse" / "cameras.bin", 32, "<d", -1), "focal lengths"),
    "huge sides": (lambda r: change(r / "sparse" / "cameras.bin", 16, "<Q", 2**63), "pixels; copy the model again"),
    "another shape": (lambda r: change(r / "sparse" / "cameras.bin", 16, "<Q", 500), "another shape"),
    "another camera's id": (lambda r: change(r / "sparse" / "cameras.bin", 8, "<I", 7), "has no camera 1"),
    "nan pose": (lambda r: change(r / "sparse" / "images.bin", 12, "<d", np.nan), "the pose of image 'frame0.png'"),
    "leads out": (lambda r: rename(r, b"../../a.pn"), "a name must stay inside its folder"),
    "absolute": (lambda r: rename(r, b"/etc/a.png"), "a name must stay inside its folder"),
    "no text": (lambda r: rename(r, b"\xff\xfe\xfd0.png..."), "is not UTF-8 text"),
    "twice": (lambda r: rename(r, b"frame1.png"), "image 'frame1.png' appears twice"),
    "missing image": (lambda r: (r / "images" / "frame2.png").unlink(), "images/frame2.png: no such file"),
    "cut image": (lambda r: cut(r / "images" / "frame2.png", 300), "images/frame2.png: is truncated"),
    "no images": (lambda r: (r / "images").rename(r / "pictures"), "images: the model's images are missing"),
    "cut depth map": (
        lambda r: cut(r / "stereo" / "depth_maps" / "frame2.png.geometric.bin", 99),
        "frame2.png.geometric.bin: has 99 bytes, its header states 27656",
    ),
    "no depth map": (
        lambda r: (r / "stereo" / "depth_maps" / "frame2.png.geometric.bin").write_bytes(b"GIF89a"),
        "so it is no depth map",
    ),
    "cut cloud": (lambda r: (r / "fused.ply").write_bytes(CUT_PLY), "fused.ply: is cut off"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_workspace(tmp_path_factory.mktemp("colmap") / "room")


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_sentence(name: str, written: Path, tmp_path: Path) -> None:
    damage, said = DAMAGES[name]
    damage(Path(shutil.copytree(written, tmp_path / "room")))
    assert said in lacks(tmp_path / "room")


def test_the_command_names_the_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut(write_workspace(tmp_path / "room") / "sparse" / "images.bin", 200)
    assert main(["check", str(tmp_path / "room")]) == 2
    assert "images.bin: is cut off after 200 bytes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "old", "new", "said"),
    [
        ("cameras", "PINHOLE 96", "PINHOLE x", "cameras.txt, line 4: 'x' is not a number"),
        ("cameras", "1 PINHOLE 96 72 70 70 48 36", "1 PINHOLE", "cameras.txt, line 4: 2 values, expected 4"),
        ("cameras", " 48 36", "", "needs 4 finite parameters (PINHOLE)"),
        ("images", " 1 frame0.png", "", "expected 10 (IMAGE_ID, pose, CAMERA_ID, NAME)"),
        ("points3D", "200 100 50", "200 100 950", "a colour is no whole number from 0 to 255"),
        ("points3D", "200 100 50", "", "points3D.txt, line 4: "),
    ],
)
def test_damaged_text_is_one_sentence(tmp_path: Path, part: str, old: str, new: str, said: str) -> None:
    file = write_workspace(tmp_path / "room", dense=False, text=True) / "sparse" / "0" / f"{part}.txt"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    assert said in lacks(tmp_path / "room")


def test_a_model_without_points_needs_a_dense_result(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "room", dense=False)
    (folder / "sparse" / "0" / "points3D.bin").write_bytes(bytes(8))
    assert "holds no points, and there is neither stereo/depth_maps nor fused.ply" in lacks(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metres_per_unit: 0\n", "metres_per_unit is 0, expected a number from 1e-6"),
        ("up: [0, 0, 0]\n", "up is [0, 0, 0], expected a direction"),
        ("image: a\n", "unknown key 'image'; did you mean 'images'?"),
        ("model: nowhere\n", "nowhere: has no cameras and images"),
        ("root: nowhere\n", "the workspace's folder does not exist"),
        ("cloud: nowhere.ply\n", "nowhere.ply: no such file"),
    ],
)
def test_wrong_descriptions(tmp_path: Path, text: str, said: str) -> None:
    write_workspace(tmp_path)
    (tmp_path / "own.yaml").write_text(f"layout: colmap\n{text}")
    assert said in lacks(tmp_path / "own.yaml")


def test_no_model_split_or_root(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no COLMAP model"):
        open_scenes(tmp_path, layout="colmap")
    write_workspace(tmp_path / "room")
    with pytest.raises(InputError, match="has no splits"):
        open_scenes(tmp_path / "room", options=ReadOptions(split="train"))
    with pytest.raises(InputError, match="is for a description file"):
        open_scenes(tmp_path / "room", root=tmp_path)


@pytest.mark.parametrize("key", KEYS)
def test_the_manual_lists_every_key_with_its_default(key: str) -> None:
    row = next(line for line in MANUAL.splitlines() if line.startswith(f"| `{key}` |"))
    default = getattr(ColmapDescription(), key)
    assert default is None or f"| {default:g} |" in row


def test_the_description_in_the_manual_is_valid(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", MANUAL, re.DOTALL)
    (tmp_path / "own.yaml").write_text(block)
    assert read_workspace_description(tmp_path / "own.yaml").metres_per_unit == 0.37
