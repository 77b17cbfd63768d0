from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import labelfree
from helpers.small_recipe import SMALL
from labelfree import recipe

README = Path(__file__).parent.parent / "README.md"


def test_python_example_runs_as_printed(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelfree, "recipe", lambda name: recipe(name, *SMALL, "--train.epochs=2"))  # not 120
    example = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    shutil.copytree(room, tmp_path / "scan")
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(example, found)
    points, pixels = found["points"], found["pixels"]
    assert isinstance(points, labelfree.Prediction)
    assert points.is_3d
    assert isinstance(pixels, list)
    assert len(pixels) == 4
    assert pixels[0].labels.shape == (96, 128)
    assert (tmp_path / "nets" / "2d" / "model.safetensors").is_file()


def test_every_public_name_is_there() -> None:
    assert all(hasattr(labelfree, name) for name in labelfree.__all__)
