"""The fault campaign in a minute, and what it counts as a failure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` is not part of the package
forks, verdict = import_module("benchmarks.faults.forks"), import_module("benchmarks.faults.verdict")
damage, images = import_module("benchmarks.faults.damage"), import_module("benchmarks.faults.images")

SHORT = (
    "--short",
    "--mutations",
    "40",
    "--kills",
    "3",
    "--disks",
    "1",
    "--writers",
    "1",
    "--seed",
    "12",
    "--jobs",
    "2",
)
LIMITS = forks.Limits()


@pytest.mark.slow
def test_a_minute_of_faults(tmp_path: Path) -> None:
    """40 damaged inputs, command lines and states, 3 kills, a full disk, two writers: nothing is wrong."""
    found = tmp_path / "faults.json"
    command = [sys.executable, "-m", "benchmarks.faults", *SHORT, "--work", str(tmp_path / "work"), "--out", str(found)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    counts = json.loads(found.read_text())
    assert counts["cases"] == sum(counts["counts"].values()) == 45
    assert counts["failures"] == []


def outcome(code: int, stderr: str, stdout: str = "", **more: object) -> object:
    return forks.Outcome(("check", "in"), code, stdout, stderr, 1.0, 1.0, 0, **more)


@pytest.mark.parametrize(
    ("code", "stderr", "kind"),
    [
        (0, "", "completed"),
        (0, "label: 4/4 in 2 s\n", "completed"),
        (0, "labelfree: the cloud has no colour.\n", "completed"),
        (2, "label: 1/4 a, about 3 s left\nlabelfree: a.png: is empty; copy it again.\n", "refused"),
        (2, "usage: labelfree check [-h]\n             data\nlabelfree check: error: unknown\n", "refused"),
        (2, "", "message"),
        (1, "labelfree: a.png: is empty.\n", "message"),
        (1, "Traceback (most recent call last):\n  File \"x\"\nKeyError: 'a'\n", "traceback"),
        (1, "Traceback (most recent call last):\nMemoryError\n", "memory"),
        (-11, "", "crash"),
        (2, "labelfree: set weights_only=False to load it.\n", "foreign text"),
        (0, "/x.py:3: RuntimeWarning: overflow\n", "foreign text"),
        (2, "labelfree: \x1b]0;owned: no such file.\n", "message"),
    ],
)
def test_verdicts(code: int, stderr: str, kind: str) -> None:
    assert verdict.judge(outcome(code, stderr), LIMITS).kind == kind


def test_a_stopped_command_says_so() -> None:
    said = "labelfree: stopped; the same command resumes.\n"
    assert verdict.judge(outcome(130, said, stopped=True), LIMITS).sound
    assert verdict.judge(outcome(-9, "", stopped=True), LIMITS).sound
    assert verdict.judge(outcome(130, "", stopped=True), LIMITS).kind == "message"
    assert verdict.judge(outcome(-15, "", stopped=True), LIMITS).kind == "crash"


@pytest.mark.parametrize(
    ("code", "signal", "stdout", "stderr", "kind"),
    [
        (-2, 2, "networks are in a/b\n", "train: 4/4 in 1 s\n", "completed"),
        (-15, 15, "networks are in a/b\n", "", "completed"),
        (-2, 2, "", "train: 4/4 in 1 s\n", "crash"),  # before its last line
        (-11, 2, "networks are in a/b\n", "", "crash"),
        (-2, 0, "networks are in a/b\n", "", "crash"),  # a signal that nobody sent
        (-2, 2, "networks are in a/b\n", "Traceback (most recent call last):\nKeyboardInterrupt\n", "traceback"),
        (-2, 2, "networks are in a/b\n", "Exception ignored in: x\n", "foreign text"),
    ],
)
def test_the_signal_that_was_sent_may_end_a_command_that_has_finished(
    code: int, signal: int, stdout: str, stderr: str, kind: str
) -> None:
    done = outcome(code, stderr, stdout, stopped=bool(signal), signal=signal)
    assert verdict.judge(done, LIMITS, verdict.normalised("networks are in out/run")).kind == kind


def test_listings_see_what_changed(tmp_path: Path) -> None:
    for name in ("kept", "changed", "out/result"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before = verdict.Listing.of(tmp_path, (tmp_path / "out",))
    (tmp_path / "changed").write_text("!")
    (tmp_path / "new").mkdir()
    (tmp_path / "out" / ".x.1-2.tmp").write_text("")
    after = verdict.Listing.of(tmp_path, (tmp_path / "out",))
    assert after.changed(before) == ["changed"]
    assert after.added(before) == ["new"]
    assert verdict.temporaries(tmp_path) == ["out/.x.1-2.tmp"]


def test_the_same_seed_does_the_same_damage(tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    for index in range(5):
        (tmp_path / "golden" / f"{index}.json").write_text('{"a": [1, 2, {"b": "c"}]}')
        (tmp_path / "golden" / f"{index}.bin").write_bytes(bytes(range(40)))
    for seed in range(40):
        done = []
        for copy in ("one", "two"):
            shutil.copytree(tmp_path / "golden", tmp_path / copy)
            what = damage.damage(np.random.default_rng(seed), tmp_path / copy)
            entries = verdict.Listing.of(tmp_path / copy).entries
            done.append((what, {name: text.partition(" ")[0] for name, text in entries.items()}))
            shutil.rmtree(tmp_path / copy)
        assert done[0] == done[1]


def test_every_damage_can_follow_every_other(tmp_path: Path) -> None:
    """A file that no reader opens any more, such as YAML with a zero byte, is damaged by flipping bits."""
    whole = {"a.yaml": b"a: [1, 2]\n", "a.json": b'{"a": [1, 2]}', "a.png": b"", "a.txt": b"1 2\n3 4\n"}
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    whole["a.png"] = (tmp_path / "a.png").read_bytes()
    broken = {"a.yaml": b"a: \0[\n", "a.json": b"{", "a.txt": b"\xff\n", "a.png": images._png(30_000, 8, 2, b"")}
    for name in whole:
        for number in range(20):
            for content in (whole[name], broken[name], b"", b"\x89PNG\r\n\x1a\n"):
                folder = tmp_path / "tree"
                folder.mkdir()
                (folder / name).write_bytes(content)
                assert damage._damage_one(np.random.default_rng(number), folder, lambda path: True)
                shutil.rmtree(folder)


def test_bombs_inflate(tmp_path: Path) -> None:
    assert zlib.decompress(images.zeros(40_000_000)) == bytes(40_000_000)
