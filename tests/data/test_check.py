from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.small_capture import SIZE, make_capture
from labelfree.data.captures.posed_rgbd import CaptureSource
from labelfree.data.checking.check import CheckReport, check_collection, check_scene, raise_problems, render_reports
from labelfree.data.collection import open_scenes
from labelfree.data.fusion import FusionOptions, fuse
from labelfree.data.layout import ReadOptions
from labelfree.data.ply import write_ply
from labelfree.errors import InputError
from labelfree.scene import Frame, Scene

ROOT = Path(__file__).parents[2]
HOLOLENS = ROOT.parent / "shared" / "data" / "hololens-rgbd"
HOLOLENS_FRAMES = 8
CAPTURE = make_capture(12)
AXES = np.diag([1.0, -1, -1, 1])
EMPTY_PLY = (
    "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
)


def check(scene: Path, root: Path | None = None) -> CheckReport:
    return check_collection(open_scenes(scene, root=root))[0]


def only_problem(scene: Path, root: Path | None = None) -> str:
    report = check(scene, root)
    assert len(report.problems) == 1, report.problems
    assert "\n" not in report.problems[0]
    return report.problems[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures") / "room"
    CAPTURE.write(folder, np.zeros((1, 3), np.float32))
    (folder / "cloud.ply").unlink()
    return folder


@pytest.fixture
def scene(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "room"))


def capture_frames(folder: Path) -> tuple[Frame, ...]:
    (source,) = open_scenes(folder).sources
    assert isinstance(source, CaptureSource)
    return source.frames()


@pytest.fixture(scope="module")
def points(written: Path) -> np.ndarray:
    return fuse(capture_frames(written), FusionOptions(voxel_m=0.05)).points_world


def change_poses(scene: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for file in (scene / "pose").iterdir():
        np.savetxt(file, change(np.loadtxt(file)))


def change_depths(scene: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for file in (scene / "depth").iterdir():
        save(change(np.array(Image.open(file))), file)


def save(pixels: np.ndarray, file: Path) -> None:
    Image.fromarray(pixels).save(file)


def scale_intrinsics(file: Path, scale: float) -> None:
    np.savetxt(file, np.diag([scale, scale, 1]) @ np.loadtxt(file))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def nan_pose(scene: Path) -> None:
    file = scene / "pose" / "000004.txt"
    file.write_text(file.read_text().replace("0 0 0 1", "0 0 nan 1"))


def millimetre_translation(pose: np.ndarray) -> np.ndarray:
    return np.vstack([pose[:3] * [1, 1, 1, 1000], pose[3]])


def whole_metres(depth: np.ndarray) -> np.ndarray:
    return np.rint(depth / 1000).astype(np.uint16)


def normalised(depth: np.ndarray) -> np.ndarray:
    return np.asarray((depth - depth.min()) / np.ptp(depth) * 65535).astype(np.uint16)


def test_a_clean_capture_is_sound(scene: Path) -> None:
    report = check(scene)
    assert (report.problems, report.warnings) == ((), ())
    assert [row.name for row in report.rows] == [f"{i:06d}" for i in range(12)]
    assert report.agree is not None
    assert report.misfit_cm is not None
    assert report.agree > 0.75
    assert report.misfit_cm < 1.5
    assert report.points is None
    text = report.render(max_rows=3)
    assert "room: 12 frames, cloud fused from depth" in text
    assert "and 9 more frames" in text
    assert text.endswith("sound")
    raise_problems([report])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nan pose": (nan_pose, "000004.txt: the pose of frame '000004' holds nan; "),
    "truncated image": (lambda s: cut(s / "color" / "000002.png"), "color/000002.png: cannot be read as an image"),
    "truncated depth": (lambda s: cut(s / "depth" / "000002.png"), "depth/000002.png: cannot be read as an image"),
    "depth in metres": (lambda s: change_depths(s, whole_metres), "whole metres (depth_scale: 1), which is too coarse"),
    "one depth in metres": (
        lambda s: save(whole_metres(np.array(Image.open(s / "depth/000003.png"))), s / "depth/000003.png"),
        "depth/000003.png: its median depth is 0.00",
    ),
    "depth in other units": (lambda s: change_depths(s, lambda d: d * np.uint16(5)), "set depth_scale: 5000"),
    "8-bit depth": (lambda s: change_depths(s, lambda d: (d / 20).astype(np.uint8)), "has 8 bits"),
    "colour depth": (lambda s: save(np.zeros((*SIZE, 3), np.uint8), s / "depth/000001.png"), "expected a depth map"),
    "normalised depth": (lambda s: change_depths(s, normalised), "normalised per image"),
    "empty depth": (lambda s: change_depths(s, lambda d: d * np.uint16(0)), "no pixel of it or of any other"),
    "inverted poses": (lambda s: change_poses(s, np.linalg.inv), "set pose_is: world_to_camera"),
    "opengl poses": (lambda s: change_poses(s, lambda p: p @ AXES), "set camera_axes: opengl"),
    "both": (
        lambda s: change_poses(s, lambda p: np.linalg.inv(p @ AXES)),
        "set pose_is: world_to_camera and camera_axes: opengl",
    ),
    "poses in millimetres": (lambda s: change_poses(s, millimetre_translation), "poses look like millimetres"),
    "shuffled poses": (
        lambda s: [(s / "pose" / f"{i:06d}.txt").rename(s / "pose" / f"{(i + 5) % 12:06d}.tx") for i in range(12)]
        and [file.rename(file.with_suffix(".txt")) for file in (s / "pose").iterdir()],
        "contradict each other",
    ),
    "image missing": (lambda s: (s / "color" / "000005.png").unlink(), "the image of frame '000005' is missing"),
    "depth missing": (lambda s: (s / "depth" / "000005.png").unlink(), "the depth map of frame '000005' is missing"),
    "double intrinsics": (
        lambda s: scale_intrinsics(s / "intrinsic.txt", 2),
        "cx 96.0, cy 72.0 for images of 96x72 (width x height) look like those of a 192x144 image: set "
        "intrinsics_size: [144, 192]",
    ),
    "half intrinsics": (lambda s: scale_intrinsics(s / "intrinsic.txt", 0.5), "set intrinsics_size: [36, 48]"),
    "plausible intrinsics": (lambda s: scale_intrinsics(s / "intrinsic.txt", 1.25), "set intrinsics_size: [90, 120]"),
    "stretched intrinsics": (lambda s: (s / "intrinsic.txt").write_text("70 95 48 36"), "differ by a factor 1.36"),
    "long focal length": (lambda s: (s / "intrinsic.txt").write_text("700 700 48 36"), "field of view of 8 degrees"),
    "empty ply": (lambda s: (s / "cloud.ply").touch(), "cloud.ply: the file is empty (0 bytes)"),
    "ply without points": (lambda s: (s / "cloud.ply").write_text(EMPTY_PLY), "the point cloud has 0 vertices"),
    "turned picture": (
        lambda s: save(CAPTURE.images[1].transpose(1, 0, 2).copy(), s / "color" / "000001.png"),
        "color/000001.png: the image is 72x96, but the depth map is 96x72",
    ),
    "another depth size": (
        lambda s: save(np.ones((36, 48), np.uint16), s / "depth" / "000001.png"),
        "depth/000001.png: the depth map is 48x36, but the others are 96x72",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_one_sentence_about_the_right_thing(scene: Path, name: str) -> None:
    damage, words = DAMAGES[name]
    damage(scene)
    assert words in only_problem(scene)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p, None),
        (lambda p: p * 1000, "must share one coordinate system in metres"),
        (lambda p: p[:, [1, 2, 0]], "the cloud is in another coordinate system"),
    ],
)
def test_a_cloud_is_compared_with_the_depth_maps(
    scene: Path, points: np.ndarray, change: Callable[[np.ndarray], np.ndarray], words: str | None
) -> None:
    write_ply(scene / "cloud.ply", change(points))
    if words is None:
        report = check(scene)
        assert (report.problems, report.points) == ((), len(points))
        assert report.agree is not None
        assert report.agree > 0.85
    else:
        assert words in only_problem(scene)


def test_inverted_poses_show_against_a_cloud_too(scene: Path, points: np.ndarray) -> None:
    write_ply(scene / "cloud.ply", points)
    change_poses(scene, np.linalg.inv)
    assert "set pose_is: world_to_camera" in only_problem(scene)


def test_a_cloud_with_cameras_but_no_depth(scene: Path, points: np.ndarray) -> None:
    write_ply(scene / "cloud.ply", points)
    shutil.rmtree(scene / "depth")
    report = check(scene)
    assert report.problems == ()
    assert report.agree is None
    assert min(row.in_view for row in report.rows) > 100
    write_ply(scene / "cloud.ply", points * [1, 0, 1] - [0, 1000, 0])  # far above cameras that look down
    assert "no point falls into any image" in only_problem(scene)


def test_a_lost_frame_is_a_warning(scene: Path) -> None:
    shutil.copy(scene / "pose" / "000000.txt", scene / "pose" / "000006.txt")
    report = check(scene)
    assert report.problems == ()
    assert report.warnings[0].startswith("1 of 12 checked frames disagree with the rest: '000006'")


def test_a_single_frame_cannot_be_compared(scene: Path) -> None:
    (report,) = check_collection(open_scenes(scene, options=ReadOptions(limit=1)))
    assert report.problems == ()
    assert "frames see too little of each other (0 points)" in report.warnings[0]


def test_a_still_camera_is_no_problem(scene: Path) -> None:
    for name in ("color", "depth", "pose"):
        for file in sorted((scene / name).iterdir())[1:]:
            shutil.copy(sorted((scene / name).iterdir())[0], file)
    assert check(scene).problems == ()


def test_other_warnings(scene: Path) -> None:
    (scene / "classes.txt").write_text("wall\nfloor\n")
    change_poses(scene, lambda pose: pose + np.eye(4)[[0]].T * [0, 0, 0, 5e5])
    report = check(scene)
    assert report.problems == ()
    assert "labels hold class 2, but the capture names 2 classes" in report.warnings[0]


@pytest.mark.parametrize(("dtype", "told"), [(np.float32, True), (np.float64, False)])
def test_only_a_coarse_cloud_far_away_is_a_warning(
    scene: Path, points: np.ndarray, dtype: type[np.floating], told: bool
) -> None:
    change_poses(scene, lambda pose: pose + np.eye(4)[[0]].T * [0, 0, 0, 5e5])
    write_ply(scene / "cloud.ply", np.add(points, [5e5, 0, 0]).astype(dtype))
    report = check(scene)
    assert report.problems == ()
    assert any("export the cloud with coordinates in double" in warning for warning in report.warnings) is told


def test_points_that_are_not_finite_are_counted(scene: Path, points: np.ndarray) -> None:
    points = points.copy()
    points[[3, 5]] = np.nan
    write_ply(scene / "cloud.ply", points)
    report = check(scene)
    assert report.problems == ()
    assert f"2 of {len(points):,} points are not finite" in report.warnings[0]


def test_a_scene_in_memory(written: Path, points: np.ndarray) -> None:
    frames = capture_frames(written)
    assert check_scene(Scene("room", points, frames)).problems == ()
    agree = check_scene(Scene("room", points, frames), cloud_is_fused=True, probes=4).agree
    assert agree is not None
    assert agree > 0.6
    assert "has no frames" in check_scene(Scene("room", points, ())).problems[0]


def test_problems_are_raised_with_their_count() -> None:
    reports = [CheckReport("a", problems=("First.", "Second.")), CheckReport("b", problems=("Third.",))]
    with pytest.raises(InputError, match=r"^First\. \(and 2 more"):
        raise_problems(reports)


def test_reports_name_what_is_to_be_told_and_count_the_others() -> None:
    sound = CheckReport("a", frames=2, points=10)
    told = render_reports([sound, CheckReport("b"), CheckReport("c", problems=("Third.",)), CheckReport("d")])
    assert told.splitlines() == [
        "a: 2 frames, 10 points",
        "  sound",
        "c: 0 frames, cloud fused from depth",
        "  problem: Third.",
        "  needs fixing",
        "2 more scenes: files are complete, images not decoded",
    ]


@pytest.fixture
def hololens(tmp_path: Path) -> Path:
    """Some frames of the real capture, that may be damaged."""
    names = sorted(path.name for path in (HOLOLENS / "images").iterdir())[: 3 * HOLOLENS_FRAMES : 3]
    for folder in ("images", "depth"):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copyfile(HOLOLENS / folder / name, tmp_path / folder / name)
    np.savetxt(tmp_path / "poses.txt", np.loadtxt(HOLOLENS / "poses.txt")[: 3 * HOLOLENS_FRAMES : 3])
    shutil.copyfile(HOLOLENS / "K.txt", tmp_path / "K.txt")
    return tmp_path


def rewrite(file: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    np.savetxt(file, change(np.loadtxt(file)))


def set_nan(table: np.ndarray) -> np.ndarray:
    table[4, 3] = np.nan
    return table


def invert_rows(table: np.ndarray) -> np.ndarray:
    return np.linalg.inv(table.reshape(-1, 4, 4)).reshape(-1, 16)


def lose_frame(folder: Path) -> None:
    for kind in ("images", "depth"):
        (folder / kind / "00075.png").unlink()


HOLOLENS_DAMAGES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "none": (lambda r: None, None),
    "nan pose": (lambda r: rewrite(r / "poses.txt", set_nan), "poses.txt, line 5: the pose of frame '00099' holds nan"),
    "truncated image": (lambda r: cut(r / "images" / "00051.png"), "images/00051.png: cannot be read as an image"),
    "depth in metres": (lambda r: change_depths(r, whole_metres), "whole metres (depth_scale: 1)"),
    "inverted poses": (lambda r: rewrite(r / "poses.txt", invert_rows), "set pose_is: world_to_camera"),
    "image missing": (lambda r: (r / "images" / "00075.png").unlink(), "the image of frame '00075' is missing"),
    "image and depth missing": (
        lose_frame,
        "poses.txt: 8 poses for 7 images matching 'images/*.png' ('00075' between '00051' and '00099' is missing)",
    ),
    "intrinsics": (lambda r: scale_intrinsics(r / "K.txt", 2), "a 1080x720 image: set intrinsics_size: [720, 1080]"),
    "half intrinsics": (lambda r: scale_intrinsics(r / "K.txt", 0.5), "a 270x180 image"),
    "empty ply": (lambda r: (r / "cloud.ply").touch(), "cloud.ply: the file is empty (0 bytes)"),
    "ply without points": (
        lambda r: (r / "cloud.ply").write_text(EMPTY_PLY),
        "cloud.ply: the point cloud has 0 vertices",
    ),
}


@pytest.mark.skipif(not HOLOLENS.is_dir(), reason=f"{HOLOLENS} is not here")
@pytest.mark.parametrize("name", HOLOLENS_DAMAGES)
def test_a_real_capture(hololens: Path, name: str) -> None:
    damage, words = HOLOLENS_DAMAGES[name]
    damage(hololens)
    description = Path(os.path.relpath(ROOT / "examples" / "hololens-rgbd.yaml"))
    if words is None:
        report = check(description, hololens)
        assert (report.problems, report.warnings) == ((), ())
        assert report.agree is not None
        assert report.agree > 0.6
        assert report.misfit_cm is not None
        assert report.misfit_cm < 3
    else:
        assert words in only_problem(description, hololens)
