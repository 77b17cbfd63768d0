"""What `labelfree import rosbag` refuses, one sentence each: missing parts, wrong names, damaged files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.bag_import import CAPTURE, COLOUR, DEPTH, DEPTHS, POSES, images_and, refused, run
from helpers.bags import START, BagWriter, write_rgbd
from helpers.small_capture import INTRINSICS, SIZE

pytest.importorskip("rosbags")


@pytest.fixture(scope="module")
def mcap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags") / "walk"
    return write_rgbd(BagWriter(folder), CAPTURE.images, DEPTHS, POSES, INTRINSICS)


def no_poses(writer: BagWriter) -> None:
    images_and(writer)


def no_images(writer: BagWriter) -> None:
    writer.pose_stamped(START, "/pose", POSES[0])


def no_info(writer: BagWriter) -> None:
    writer.image(START, COLOUR, CAPTURE.images[0], "rgb8")
    writer.image(START, DEPTH, DEPTHS[0], "16UC1")


def no_depth(writer: BagWriter) -> None:
    writer.image(START, COLOUR, CAPTURE.images[0], "rgb8")


def two_cameras(writer: BagWriter) -> None:
    images_and(writer).image(START, "/right/image_raw", CAPTURE.images[0], "rgb8")


def two_poses(writer: BagWriter) -> None:
    images_and(writer).pose_stamped(START, "/a", POSES[0])
    writer.pose_stamped(START, "/b", POSES[0])


def depth_of_another_frame(writer: BagWriter) -> None:
    writer.image(START, COLOUR, CAPTURE.images[0], "rgb8")
    writer.image(START, DEPTH, DEPTHS[0], "16UC1", "depth_optical")


def no_mount(writer: BagWriter) -> None:
    images_and(writer).odometry(START, "/odom", POSES[0], "base")


def no_camera_in_tf(writer: BagWriter) -> None:
    images_and(writer).transform(START, "/tf", "odom", "base", POSES[0])


def lost_tracker(writer: BagWriter) -> None:
    images_and(writer).pose_stamped(START, "/pose", POSES[0])
    writer.rows[-1][3].pose.position.x = np.nan


def uncalibrated(writer: BagWriter) -> None:
    write_rgbd(writer, CAPTURE.images[:1], DEPTHS[:1], POSES[:1], np.zeros((3, 3)))
    shutil.rmtree(writer.path)


def bayer(writer: BagWriter) -> None:
    write_rgbd(writer, CAPTURE.images[:1], DEPTHS[:1], POSES[:1], INTRINSICS)
    shutil.rmtree(writer.path)
    for _, topic, _, message in writer.rows:
        if topic == COLOUR:
            message.encoding = "bayer_rggb8"


RECORDINGS: list[tuple[Callable[[BagWriter], None], str]] = [
    (no_poses, f"has no poses (nav_msgs/Odometry, geometry_msgs/PoseStamped or tf); its topics are {DEPTH} (sensor"),
    (no_images, "has no images (sensor_msgs/Image or CompressedImage); its topics are /pose (geometry_msgs/msg/Pose"),
    (no_info, "has no sensor_msgs/CameraInfo; its topics are"),
    (no_depth, "has no depth (sensor_msgs/Image, 16UC1 or 32FC1) and no sensor_msgs/PointCloud2; its topics are"),
    (two_cameras, f"the images could be any of {COLOUR}, /right/image_raw; name one with --image-topic"),
    (two_poses, "the poses could be any of /a, /b; name one with --pose-topic"),
    (depth_of_another_frame, "is in frame 'depth_optical', the images /camera/color/image_raw in 'camera'; record"),
    (no_mount, "gives poses of frame 'base', and tf has no path from it to 'camera'; record /tf_static, or give"),
    (no_camera_in_tf, "tf has no path from 'camera' to the sensor's frame 'camera' (its frames: 'base', 'odom')"),
    (lost_tracker, "no pose of /pose is valid"),
    (uncalibrated, "holds no intrinsics (matrix K)"),
    (bayer, "has the encoding 'bayer_rggb8'"),
]


@pytest.mark.parametrize(("fill", "said"), RECORDINGS, ids=[fill.__name__ for fill, _ in RECORDINGS])
def test_what_a_recording_lacks_is_one_sentence(
    fill: Callable[[BagWriter], None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = BagWriter(tmp_path / "bag")
    fill(writer)
    assert said in refused(capsys, writer.write(), "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image-topic", "/nowhere"], "--image-topic /nowhere: "),
        (["--image-topic", "/nowhere"], "has no such topic, expected messages of sensor_msgs/msg/Image or"),
        (["--depth-topic", "/pose"], "is geometry_msgs/msg/PoseStamped with 4 messages, expected"),
        (["--pose-topic", COLOUR], f"--pose-topic {COLOUR}: "),
        (["--info-topic", "/a"], "its topics are /camera/aligned_depth_to_color/image_raw (sensor_msgs/msg/Image, 4)"),
        (["--cloud-topic", "/points"], "--cloud-topic /points: "),
        (["--depth-topic", "none"], "has no depth"),
        (["--tf-frame", "map"], "tf has no path from 'map' to the sensor's frame 'camera' (its frames: none)"),
        (["--every", "0"], "--every is 0: give a whole number from 1"),
        (["--tolerance", "-1"], "--tolerance is -1: give seconds from 0"),
        (["--image-topic", COLOUR, "--image-topic", COLOUR], "2 cameras are given"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], said: str, mcap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, mcap, "--out", tmp_path / "out", *arguments)


@pytest.mark.parametrize("kind", ["ros1", "sqlite3", "mcap"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_cut_bags_are_one_sentence(kind: str, share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rgbd(BagWriter(tmp_path / "bag", kind), CAPTURE.images, DEPTHS, POSES, INTRINSICS)
    file = path if kind == "ros1" else next(file for file in path.iterdir() if file.suffix in (".db3", ".mcap"))
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    said = refused(capsys, path, "--out", tmp_path / "out")
    assert str(path) in said
    assert "copy it again, or repair it with" in said


def test_other_damage_is_one_sentence(mcap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", tmp_path / "out"]
    assert "nowhere.bag: no such file" in refused(capsys, tmp_path / "nowhere.bag", *out)
    (tmp_path / "a.txt").write_text("no bag")
    assert "a.txt: is no bag; give a .bag" in refused(capsys, tmp_path / "a.txt", *out)
    (tmp_path / "a.bag").write_text("no bag")
    assert "a.bag: cannot be read as a bag" in refused(capsys, tmp_path / "a.bag", *out)
    assert "ROS 1 and ROS 2 bags are given together" in refused(capsys, mcap, tmp_path / "a.bag", *out)
    (tmp_path / "empty").mkdir()
    assert "empty: cannot be read as a bag" in refused(capsys, tmp_path / "empty", *out)
    damaged = tmp_path / "damaged.mcap"
    data = bytearray((mcap / "walk.mcap").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40_000] = bytes(40_000)
    damaged.write_bytes(data)
    assert "copy it again" in refused(capsys, damaged, *out)


def test_topics_and_frames_never_become_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topic, frame = "/../../x\x1b[31m\n/camera", "../../../tmp/y"
    writer = BagWriter(tmp_path / "in" / "bag")
    writer.info(START, "/camera_info", INTRINSICS, SIZE, frame)
    writer.image(START, topic, CAPTURE.images[0], "rgb8", frame)
    writer.image(START, "/depth", DEPTHS[0], "16UC1", frame)
    writer.pose_stamped(START, "/pose", POSES[0])
    code, told = run(capsys, writer.write(), "--out", tmp_path / "in" / "out")
    assert code == 0, told
    assert "\x1b" not in told
    found = {path.relative_to(tmp_path / "in" / "out").as_posix() for path in (tmp_path / "in" / "out").rglob("*")}
    stem = "1700000000.000000000"
    files = {f"color/{stem}.png", f"depth/{stem}.png", f"pose/{stem}.txt", "intrinsic.txt", "import.json"}
    assert {name for name in found if not name.startswith(".")} == files | {"color", "depth", "pose"}
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_without_the_extra_the_import_names_the_command(mcap: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['rosbags'] = sys.modules['rosbags.highlevel'] = None\n"
        "from labelfree.cli.main import main\n"
        f"sys.exit(main(['import', 'rosbag', {str(mcap)!r}, '--out', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("not installed: pip install 'labelfree[bags]'")
