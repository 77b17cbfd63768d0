from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.small_capture import CLASSES, INTRINSICS, SIZE, make_capture
from labelfree.data.captures.posed_rgbd import CaptureSource
from labelfree.data.captures.writing import write_scene
from labelfree.data.collection import SceneCollection, count_frames, open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.errors import InputError
from labelfree.scene import Scene
from labelfree.training.prepared_scenes import PreparedScenes, scene_names

CAPTURE = make_capture(6)
POINTS = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
POINT_LABELS = (np.arange(50) % 3).astype(np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures") / "room"
    CAPTURE.write(folder, POINTS, point_labels=POINT_LABELS)
    return folder


@pytest.fixture
def scene(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "room"))


def describe(scene: Path, **keys: str) -> Path:
    """Write a description beside the scene."""
    path = scene.parent / "capture.yaml"
    path.write_text("root: room\n" + "".join(f"{key}: {value}\n" for key, value in keys.items()))
    return path


def rows(scene: Path, names: list[str] | None = None) -> None:
    """Replace the pose files by one file with a row for each."""
    files = sorted((scene / "pose").iterdir())
    table = [" ".join(file.read_text().split()) for file in files if names is None or file.stem in names]
    (scene / "poses.txt").write_text("\n".join(table) + "\n")
    shutil.rmtree(scene / "pose")


def test_what_is_written_is_read_back(written: Path) -> None:
    collection = open_scenes(written)
    assert (collection.names, collection.classes, len(collection)) == (("room",), CLASSES, 1)
    scene = collection[0]
    assert collection[-1] is scene
    np.testing.assert_array_equal(scene.points_world, POINTS)
    np.testing.assert_array_equal(scene.labels, POINT_LABELS)
    assert [frame.name for frame in scene.frames] == [f"{i:06d}" for i in range(6)]
    for index, frame in enumerate(scene.frames):
        np.testing.assert_array_equal(frame.load_image(), CAPTURE.images[index])
        np.testing.assert_array_equal(frame.load_labels(), CAPTURE.labels[index])
        depth_m = frame.load_depth_m()
        assert depth_m is not None
        np.testing.assert_allclose(depth_m, CAPTURE.depths_m[index], atol=5.1e-4)
        np.testing.assert_allclose(frame.world_to_camera, CAPTURE.world_to_camera[index], atol=1e-7)
        np.testing.assert_array_equal(frame.intrinsics, INTRINSICS)


def test_writing_replaces_a_scene_but_nothing_else(tmp_path: Path) -> None:
    CAPTURE.write(tmp_path / "a", POINTS)
    CAPTURE.write(tmp_path / "a", POINTS[:9])
    assert len(open_scenes(tmp_path / "a")[0]) == 9
    (tmp_path / "a" / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds other files than a scene"):
        CAPTURE.write(tmp_path / "a", POINTS)
    with pytest.raises(InputError, match="different counts"):
        write_scene(tmp_path / "b", CAPTURE.images, [], INTRINSICS, CAPTURE.world_to_camera, POINTS)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_of_scenes_shares_intrinsics_and_classes(scene: Path) -> None:
    for file in ("intrinsic.txt", "classes.txt"):
        shutil.move(scene / file, scene.parent / file)
    shutil.copytree(scene, scene.parent / "room10")
    shutil.copytree(scene, scene.parent / "room9")
    collection = open_scenes(scene.parent)
    assert collection.names == ("room", "room9", "room10")
    assert collection.classes == CLASSES
    assert [len(s.frames) for s in collection] == [6, 6, 6]
    assert collection[1:].names == ("room9", "room10")


def test_opening_reads_no_pictures(scene: Path) -> None:
    for file in (scene / "color").iterdir():
        file.write_bytes(b"")
    assert len(open_scenes(scene)[0].frames) == 6


def test_frames_are_taken_by_stride_and_limit(scene: Path) -> None:
    description = describe(scene, every="2")
    assert [f.name[-1] for f in open_scenes(scene, options=ReadOptions(every=2))[0].frames] == ["0", "2", "4"]
    assert [f.name[-1] for f in open_scenes(scene, options=ReadOptions(limit=2))[0].frames] == ["0", "1"]
    assert [f.name[-1] for f in open_scenes(description, options=ReadOptions(every=3))[0].frames] == ["0", "3"]


def test_without_a_cloud_depth_is_fused(scene: Path, tmp_path: Path) -> None:
    (scene / "cloud.ply").unlink()
    fused = open_scenes(scene, options=ReadOptions(cache_dir=tmp_path / "cache"))[0]
    assert len(fused) > 1000
    assert fused.labels is not None
    assert set(np.unique(fused.labels)) <= {0, 1, 2}
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("pose_is", ["camera_to_world", "world_to_camera"])
@pytest.mark.parametrize("axes", ["opencv", "opengl"])
def test_described_conventions(scene: Path, pose_is: str, axes: str) -> None:
    for file in (scene / "pose").iterdir():
        pose = np.loadtxt(file) @ np.diag([1, -1, -1, 1] if axes == "opengl" else [1, 1, 1, 1])
        np.savetxt(file, pose if pose_is == "camera_to_world" else np.linalg.inv(pose))
    frames = open_scenes(describe(scene, pose_is=pose_is, camera_axes=axes))[0].frames
    np.testing.assert_allclose(frames[3].world_to_camera, CAPTURE.world_to_camera[3], atol=1e-7)


def test_intrinsics_of_another_size(scene: Path) -> None:
    (scene / "intrinsic.txt").unlink()
    size = f"[{SIZE[0] * 2}, {SIZE[1] * 2}]"
    path = describe(scene, intrinsics="{fx: 140, fy: 140, cx: 96, cy: 72}", intrinsics_size=size)
    np.testing.assert_allclose(open_scenes(path)[0].frames[0].intrinsics, INTRINSICS)
    with pytest.raises(InputError, match="another shape than the images"):
        _ = open_scenes(describe(scene, intrinsics="{fx: 1, fy: 1, cx: 1, cy: 1}", intrinsics_size="[9, 9]"))[0]


def test_colours_take_the_grid_of_the_depth(scene: Path) -> None:
    for file in (scene / "color").iterdir():
        Image.open(file).resize((SIZE[1] * 3, SIZE[0] * 3)).save(file)
    frame = open_scenes(scene)[0].frames[0]
    assert frame.size == SIZE
    assert frame.load_image().shape == (*SIZE, 3)


def test_each_frame_may_have_its_own_intrinsics(scene: Path) -> None:
    (scene / "K").mkdir()
    for index in range(6):
        (scene / "K" / f"{index:06d}.txt").write_text(f"{70 + index} 70 48 36")
    frames = open_scenes(describe(scene, intrinsics="K/*.txt"))[0].frames
    assert [frame.intrinsics[0, 0] for frame in frames] == [70, 71, 72, 73, 74, 75]


def test_pose_rows_follow_the_natural_order_of_names(scene: Path) -> None:
    rows(scene)
    for folder, suffix in (("color", ".png"), ("depth", ".png"), ("label", ".png")):
        for index in range(6):
            (scene / folder / f"{index:06d}{suffix}").rename(scene / folder / f"{index * 4}{suffix}")
    frames = open_scenes(describe(scene, poses="poses.txt"))[0].frames
    assert [frame.name for frame in frames] == ["0", "4", "8", "12", "16", "20"]
    np.testing.assert_allclose(frames[3].world_to_camera, CAPTURE.world_to_camera[3], atol=1e-7)


def test_tum_captures_are_matched_by_time(scene: Path) -> None:
    times = 1305031102.1 + 0.033 * np.arange(6)
    for index, time in enumerate(times):
        (scene / "color" / f"{index:06d}.png").rename(scene / "color" / f"{time:.6f}.png")
        (scene / "depth" / f"{index:06d}.png").rename(scene / "depth" / f"{time + 0.011:.6f}.png")
    x = np.arange(5) / 10  # there is no pose near the last picture
    text = "".join(f"{times[i] - 0.004:.6f} {x[i]} 0 0 0 0 0 1\n" for i in range(5))
    (scene / "traj.txt").write_text("# timestamp tx ty tz qx qy qz qw\n" + text)
    with pytest.raises(
        InputError, match=f"the pose of frame '{times[5]:.6f}' is missing; restore it, or set incomplete"
    ):
        _ = open_scenes(describe(scene, poses="traj.txt"))[0]
    collection = open_scenes(describe(scene, poses="traj.txt", incomplete="skip"))
    assert [frame.camera_to_world[0, 3] for frame in collection[0].frames] == pytest.approx(x.tolist())
    (source,) = collection.sources
    assert isinstance(source, CaptureSource)
    assert "1 of 6 frames are left out" in source.match().notes[0]


def lose_image(scene: Path) -> None:
    (scene / "color" / "000003.png").unlink()


def lose_image_of_rows(scene: Path) -> None:
    lose_image(scene)
    rows(scene)


def lose_image_and_depth_of_rows(scene: Path) -> None:
    lose_image(scene)
    (scene / "depth" / "000003.png").unlink()
    rows(scene)


def lose_pose(scene: Path) -> None:
    (scene / "pose" / "000002.txt").unlink()


def lose_row(scene: Path) -> None:
    rows(scene, names=[f"{i:06d}" for i in range(5)])


@pytest.mark.parametrize(
    ("damage", "keys", "words"),
    [
        (lose_image, {}, "color/000003.png: the image of frame '000003' is missing"),
        (lose_pose, {}, "pose/000002.txt: the pose of frame '000002' is missing"),
        (lose_image_of_rows, {"poses": "poses.txt"}, "the image of frame '000003' is missing"),
        (
            lose_image_and_depth_of_rows,
            {"poses": "poses.txt"},
            "6 poses for 5 images matching 'color/*.{png,jpg,jpeg}' ('000003' between '000002' and '000004'",
        ),
        (lose_row, {"poses": "poses.txt"}, "5 poses for 6 images"),
        (lambda s: shutil.rmtree(s / "pose"), {}, "no pose file matches 'pose/*.txt'"),
        (lambda s: (s / "intrinsic.txt").unlink(), {}, "intrinsic.txt: no such file"),
        (lambda s: None, {"cloud": "scan.ply"}, "scan.ply: no such point cloud"),
        (lambda s: None, {"depth": "d/*.png"}, "no depth map matches 'd/*.png'"),
        (lambda s: None, {"labels": "gt/*.png"}, "no label map matches 'gt/*.png'"),
        (lambda s: None, {"classes": "names.txt"}, "names.txt: no such file of class names"),
        (lambda s: None, {"images": "rgb/*.png"}, "give the capture's folder with --root DIR"),
        (lambda s: (s / "cloud.ply").unlink(), {"depth": "null"}, "neither a point cloud ('cloud.ply') nor depth"),
    ],
)  # fmt: skip
def test_missing_parts_are_named(
    scene: Path, damage: Callable[[Path], object], keys: dict[str, str], words: str
) -> None:
    damage(scene)
    with pytest.raises(InputError) as error:
        _ = open_scenes(describe(scene, **keys))[0]
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_incomplete_frames_can_be_skipped(scene: Path) -> None:
    lose_image(scene)
    lose_pose(scene)
    np.savetxt(scene / "pose" / "000005.txt", np.full((4, 4), -np.inf))  # how ScanNet marks lost frames
    frames = open_scenes(describe(scene, incomplete="skip"))[0].frames
    assert [frame.name[-1] for frame in frames] == ["0", "1", "4"]


@pytest.mark.parametrize(
    ("path", "root", "words"),
    [
        ("nowhere", None, "no such folder or description"),
        ("room", "room", "--root room is for a description file"),
        ("room/cloud.ply", None, "neither a capture's folder nor a description"),
        ("capture.yaml", "elsewhere", "elsewhere: the capture's folder does not exist"),
        ("empty", None, "lay the files out as docs/own-data.md shows"),
    ],
)
def test_bad_paths(scene: Path, monkeypatch: pytest.MonkeyPatch, path: str, root: str | None, words: str) -> None:
    monkeypatch.chdir(scene.parent)
    describe(scene)
    Path("empty").mkdir()
    with pytest.raises(InputError, match=words):
        open_scenes(Path(path), root and Path(root))


def test_broken_scenes_are_left_out_by_name_when_asked(scene: Path, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        shutil.copytree(scene, tmp_path / "both" / name)
    next((tmp_path / "both" / "bad" / "pose").iterdir()).unlink()
    scenes = open_scenes(tmp_path / "both", options=ReadOptions(skip_broken=True))
    assert scenes.names == ("good",)
    assert "scene 'bad' is left out" in scenes.notes[0]
    with pytest.raises(InputError, match="pose"):
        list(open_scenes(tmp_path / "both"))


def test_a_layout_that_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--layout is 'kitti360'"):
        open_scenes(tmp_path, layout="kitti360")


def test_a_capture_has_no_splits(scene: Path) -> None:
    with pytest.raises(InputError, match="no splits"):
        open_scenes(scene, options=ReadOptions(split="val"))


@pytest.mark.parametrize("split", ["../train", "", "."])
def test_a_split_is_a_file_name(split: str) -> None:
    with pytest.raises(InputError, match="--split"):
        ReadOptions(split=split)


class Counted:
    """A scene on disk that counts how often it is built."""

    def __init__(self, name: str) -> None:
        self.name, self.built = name, 0

    def build(self) -> Scene:
        self.built += 1
        return Scene(self.name, POINTS, ())

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        return ()


def test_scenes_are_named_unread_and_their_frames_counted_once() -> None:
    sources = [Counted(f"room-{i}") for i in range(4)]
    collection = SceneCollection(tuple(sources))
    assert scene_names(PreparedScenes(collection)) == collection.names == tuple(source.name for source in sources)
    assert [source.built for source in sources] == [0] * 4
    assert count_frames(collection) == count_frames(collection) == count_frames(list(collection)) == 0
    assert [source.built for source in sources] == [2] * 4  # by the first count and by list()
    assert len(collection[1:]) == 3
    assert collection[1:].frame_count() == 0
