"""The commands that `prepare` and the report recommend run as they are printed, whatever the layout."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.kitti_drive import ROOT, drive, object_benchmark
from helpers.small_recipe import FAST_TEACHERS, NARROW
from labelfree.cli.main import main
from labelfree_lab.layouts.nuimages import write_nuimages
from labelfree_lab.layouts.nuscenes import write_nuscenes
from labelfree_lab.layouts.scannet import write_scannet
from labelfree_lab.streets.route import DriveSize

EXAMPLES = ROOT / "examples"
TINY = (
    *("--train.epochs=1", "--train.images_per_scene=1", "--labels.image_size=[48,64]", "--recipe", "quick"),
    *FAST_TEACHERS,
    *NARROW,
)
"""What makes a recommended command end in seconds, without weights from the hub."""
STREET = DriveSize(key_frames=1, image_size=(48, 88), azimuths=90)


def recommended(said: str) -> list[str]:
    """Return the arguments of the command in `sound; next: labelfree ...`."""
    return arguments(re.search(r"next: (labelfree .*)", said))


def arguments(found: re.Match[str] | None) -> list[str]:
    assert found is not None
    words = shlex.split(found[1])
    assert words[0] == "labelfree"
    return words[1:]


def scannet(folder: Path, room: Path) -> list[str]:
    write_scannet(folder, 0, 2, 1)
    return [str(folder), "--split", "train"]


def nuscenes(folder: Path, room: Path) -> list[str]:
    write_nuscenes(folder, 1, 2, STREET)
    return [str(folder), "--split", "train"]


def capture(folder: Path, room: Path) -> list[str]:
    return [str(room), "--limit", "2"]


def unnamed_capture(folder: Path, room: Path) -> list[str]:
    folder.mkdir(parents=True)
    described = folder / "own scan.yaml"
    described.write_text("classes: null\nevery: 2\n")
    return [str(described), "--root", str(room)]


def rig(folder: Path, room: Path) -> list[str]:
    drive(folder, sweeps=1)
    return [str(EXAMPLES / "semantic-kitti.yaml"), "--root", str(folder)]


def unnamed_rig(folder: Path, room: Path) -> list[str]:
    object_benchmark(folder / "training", sweeps=1)
    return [str(EXAMPLES / "kitti-object.yaml"), "--root", str(folder / "training")]


def semantic_kitti(folder: Path, room: Path) -> list[str]:
    drive(folder / "sequences" / "00", sweeps=1)
    return [str(folder), "--layout", "semantickitti"]


def kitti_object(folder: Path, room: Path) -> list[str]:
    object_benchmark(folder / "training", sweeps=1)
    return [str(folder)]


@pytest.mark.parametrize(
    "write", [scannet, nuscenes, capture, unnamed_capture, rig, unnamed_rig, semantic_kitti, kitti_object]
)
def test_what_prepare_recommends_can_be_labelled(
    write: Callable[[Path, Path], list[str]],
    room: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = write(tmp_path / "my data", room)
    assert main(["prepare", *given]) == 0
    said = capsys.readouterr().out
    verb, *rest = recommended(said)
    assert verb in {"label", "run"}
    assert rest[: len(given)] == given
    assert ("are an example" in said) == write.__name__.startswith(("unnamed", "kitti_object"))
    recipe = rest[rest.index("--recipe") + 1]
    assert recipe == {"scannet": "scannet", "capture": "quick", "unnamed_capture": "quick"}.get(
        write.__name__, "nuscenes"
    )
    assert main(["label", *rest, *TINY]) == 0  # reads data, classes and recipe as `run` does, and trains nothing
    assert list((tmp_path / rest[rest.index("--out") + 1]).glob("points/*.ply"))


def test_a_rig_from_prepare_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = unnamed_rig(tmp_path / "my data", tmp_path)
    assert main(["prepare", *given]) == 0
    assert main([*recommended(capsys.readouterr().out), "--networks.net_3d.voxel_m=0.5", *TINY]) == 0
    report = html.unescape((tmp_path / "runs" / "kitti-object" / "report.html").read_text())
    again = arguments(re.search(r"For real work, [^:]*: (labelfree [^<]*)", report))
    assert again[again.index("--recipe") :][:2] == ["--recipe", "nuscenes"]
    assert main(["label", *again[1:], *TINY]) == 0
    # Clouds or images alone: nothing can be trained, and the command says what RUN is.
    write_nuimages(tmp_path / "nuimages", 1, 2, STREET)
    for folder in (tmp_path / "my data" / "training").glob("image_*"):
        folder.rename(folder.with_name("elsewhere"))
    alone = tmp_path / "alone.yaml"
    alone.write_text("layout: lidar\npoints: velodyne/*.bin\n")
    for data in (
        [str(tmp_path / "nuimages"), "--split", "val"],
        [str(alone), "--root", str(tmp_path / "my data/training")],
    ):
        assert main(["prepare", *data]) == 0
        said = capsys.readouterr().out
        assert "RUN is the folder of a finished run" in said
        words = [str(tmp_path / "runs" / "kitti-object") if word == "RUN" else word for word in recommended(said)]
        assert main(words) == 0


@pytest.mark.parametrize("layout", ["posed-rgbd", "nuimages"])
def test_what_lab_write_recommends(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--scenes", "2", "--rooms", "1", "--held-out", "1", "--views", "1"]
    assert main(["lab", "write", "--layout", layout, "--out", str(tmp_path / "my lab"), *size]) == 0
    assert main(recommended(capsys.readouterr().out)) == 0


@pytest.mark.parametrize("verb", ["prepare", "label", "train", "run"])
def test_a_recipe_for_depth_maps_is_refused_before_any_work(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*unnamed_rig(tmp_path, tmp_path), "--classes", "car, road", "--recipe", "scannet"]
    assert main([verb, *given, *(() if verb == "prepare" else ("--out", str(tmp_path / "out")))]) == 2
    assert "use --recipe nuscenes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
