"""`labelfree calibrate`: its columns, its files and its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.small_capture import make_capture
from labelfree.cli.main import main
from labelfree.data.fusion import fuse

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    made = make_capture(4)
    cloud = fuse(made.frames(), with_labels=True)
    assert cloud.labels is not None
    for name in ("one", "two"):
        made.write(tmp_path / "captures" / name, cloud.points_world, colours=cloud.colours, point_labels=cloud.labels)
    return tmp_path / "captures"


def test_a_capture_without_teachers(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["calibrate", str(capture), "--limit", "2", "--out", str(out)]) == 0
    page = capsys.readouterr().out
    assert (out / "calibration.md").read_text().startswith(page.rstrip("\n"))
    (column,) = json.loads((out / "calibration.json").read_text())["columns"]
    assert (column["name"], column["scenes"], column["frames"]) == ("captures", 2, 4)
    assert column["masks"] is None
    assert column["methods"] == {}
    assert column["segments"]["k = 1"]["miou"] > 0.9
    assert column["shortcuts"]["colour"] > 0.8
    assert main(["calibrate", str(capture), "--limit", "2", "--out", str(out)]) == 0  # its own files are replaced


def test_a_world_and_its_teachers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--labels.image_size=[48,64]", "--teachers.sam_options.points_per_side=4"]
    out = tmp_path / "out"
    assert main(["calibrate", "--world", "rooms", "--scenes", "2", "--seed", "3", "--out", str(out), *small]) == 0
    (column,) = json.loads((out / "calibration.json").read_text())["columns"]
    assert (column["name"], column["scenes"], column["frames"]) == ("rooms", 2, 8)
    assert column["masks"]["segments"] > 1
    assert set(column["methods"]) == {"clip", "clip+sam"}
    assert "SAM masks: bound" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to measure"),
        (["nowhere"], "nowhere"),
        (["--world", "moon"], "moon"),
        (["--world", "rooms", "--scenes", "0"], "--scenes 0"),
        (["--world", "rooms", "--seed", "-1"], "--seed is -1"),
        (["{captures}", "--root", "."], "--root is given 1 times for 0 description files"),
        (["{captures}", "--clip", "rooms"], "both teachers"),
        (["{captures}", "--classes", "one"], "--classes"),
        (["{captures}", "--clip", "rooms", "--sam", "./none"], "none"),
        (["{captures}", "--out", "{captures}/one/classes.txt"], "--out"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [text.format(captures=capture) for text in arguments]
    out = [] if "--out" in given else ["--out", str(tmp_path / "out")]
    assert main(["calibrate", *given, *out]) == 2
    told = capsys.readouterr().err.splitlines()
    assert message in told[-1]
    assert not (tmp_path / "out" / "calibration.json").exists()


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_a_real_walk(tmp_path: Path) -> None:
    """Measured outside this repository: 80 % of the points within 5 cm, median 1.5 cm."""
    assert main(["calibrate", str(DATA / "hololens-rgbd"), "--out", str(tmp_path / "out")]) == 0
    (column,) = json.loads((tmp_path / "out" / "calibration.json").read_text())["columns"]
    assert column["frame_misfit"]["near"] == pytest.approx(0.80, abs=0.01)
    assert column["frame_misfit"]["median_m"] == pytest.approx(0.015, abs=0.001)
