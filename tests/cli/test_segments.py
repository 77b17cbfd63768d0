"""`labelfree segments`: its files and its refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.small_capture import make_capture
from labelfree.cli.main import main
from labelfree.data.fusion import fuse
from labelfree.data.ply import read_ply


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A capture, and its ground truth as masks."""
    made = make_capture(4)
    frames = made.frames()
    cloud = fuse(frames)
    made.write(tmp_path / "room", cloud.points_world, colours=cloud.colours)
    (tmp_path / "masks").mkdir()
    for index, frame in enumerate(frames):
        truth = frame.load_labels()
        assert truth is not None
        Image.fromarray((truth + 1).astype(np.uint8)).save(tmp_path / "masks" / f"{index:06d}.png")
    return tmp_path / "room"


def test_clouds_carry_segments(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs" / "out"
    command = ["segments", str(capture), "--sam", str(tmp_path / "masks"), "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "room: " in printed
    assert "masks cover" in printed
    levels = np.load(out / "room.npy")
    cloud = read_ply(out / "room.ply")
    assert levels.shape == (6, len(cloud.points))
    header = (out / "room.ply").read_bytes().split(b"end_header\n")[0]
    assert b"property int segment" in header
    assert (np.diff(levels.max(axis=1)) <= 0).all()
    body = np.frombuffer((out / "room.ply").read_bytes()[len(header) + len("end_header\n") :], np.uint8)
    segment = body.reshape(len(cloud.points), -1)[:, -4:].copy().view("<i4")[:, 0]
    np.testing.assert_array_equal(segment, levels[3])
    before = (out / "room.ply").read_bytes()
    assert main(command) == 0  # from the cache; its own files are replaced
    assert (out / "room.ply").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{room}", "--sam", "{masks}", "--level", "0.33"], "--level is 0.33"),
        (["{masks}/none", "--sam", "{masks}"], "none"),
        (["{room}", "--sam", "./nowhere"], "nowhere"),
        (["{room}", "--sam", "{masks}", "--out", "{room}"], "folder of the data"),
        (["{room}", "--sam", "{masks}", "--out", "{foreign}"], "not overwritten"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "room.ply").write_text("mine")
    places = {"room": capture, "masks": tmp_path / "masks", "foreign": foreign}
    given = [text.format(**places) for text in arguments]
    out = [] if "--out" in given else ["--out", str(tmp_path / "runs" / "out")]
    assert main(["segments", *given, *out]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert (foreign / "room.ply").read_text() == "mine"
