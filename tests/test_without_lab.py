"""labelfree without package `labelfree_lab`: the core works, and what needs the lab says so in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

QUICK = ["--train.epochs=1", "--train.images_per_scene=1", "--switch.start_epoch=0", "--labels.image_size=[32,48]"]


def labelfree(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command in an interpreter that cannot import the lab."""
    code = (
        "import sys\nsys.modules['labelfree_lab'] = None\n"
        f"from labelfree.cli.main import main\nsys.exit(main({[str(each) for each in arguments]}))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_check_and_run_with_teachers_of_ones_own(room: Path, tmp_path: Path) -> None:
    assert labelfree("check", room).returncode == 0
    for number, image in enumerate(sorted((room / "color").iterdir())):
        scores = np.random.default_rng(number).random((3, 4, 6)).astype(np.float32)
        (tmp_path / "scores").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        np.save(tmp_path / "scores" / f"{image.stem}.npy", scores)
        Image.fromarray(np.ones((4, 6), np.uint8)).save(tmp_path / "masks" / f"{image.stem}.png")
    given = ["--clip", tmp_path / "scores", "--sam", tmp_path / "masks", "--classes", "wall,floor,chair"]
    done = labelfree("run", room, "--out", tmp_path / "out", *given, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "starting weights 'rooms' belong to package labelfree_lab, which is not installed" in done.stderr
    assert (tmp_path / "out" / "results.json").is_file()


@pytest.mark.parametrize("verb", ["demo", "lab"])
def test_commands_of_the_lab_say_what_is_missing(verb: str, tmp_path: Path) -> None:
    done = labelfree(verb, "--out", tmp_path / "out")
    assert done.returncode == 2
    (told,) = done.stderr.splitlines()
    assert f"'labelfree {verb}' needs package labelfree_lab, which is not installed" in told


def test_the_labs_teachers_say_what_is_missing(room: Path, tmp_path: Path) -> None:
    done = labelfree("label", room, "--out", tmp_path / "out", "--clip", "rooms", "--classes", "wall,floor")
    assert done.returncode == 2
    assert "'rooms' names weights of package labelfree_lab, which is not installed" in done.stderr.splitlines()[-1]
