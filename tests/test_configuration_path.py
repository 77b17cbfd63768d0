"""The path of the configuration from the train verb to the first loss: few files, and hardly a call back up."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import labelfree
from helpers.small_recipe import SMALL
from labelfree.cli.main import main
from labelfree.run import Run

ROOT = Path(__file__).parents[1]
PACKAGE = Path(labelfree.__file__).parent
MOST_FILES, MOST_CALLS_UP = 20, 4
TINY = (*SMALL, "--train.epochs=1", "--train.images_per_scene=1", "--switch.start_epoch=0", "--limit=1")
CLASSES = "wall,floor,chair"


class LossReached(Exception):
    """Ends the work."""


def layers() -> dict[str, int]:
    """Return the height of every part of the package, as the import contract states it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return {part.strip(): height for height, row in enumerate(reversed(contract)) for part in row.split("|")}


def holds_settings(value: object) -> bool:
    """Tell whether a value is a run or its configuration, or a part of this."""
    kind = type(value)
    return isinstance(value, Run) or (
        kind.__module__.startswith("labelfree.config.") and kind.__name__.endswith("Config")
    )


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_the_configuration_goes_down(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heights, files, calls_up = layers(), set[str](), list[str]()

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(f"{PACKAGE}/"):
            return
        path = Path(frame.f_code.co_filename)
        if frame.f_code.co_name == "prediction_consistency":
            sys.settrace(None)
            raise LossReached
        code = frame.f_code
        arguments = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
        caller = frame.f_back and Path(frame.f_back.f_code.co_filename)
        checks_itself = frame.f_code.co_name == "__post_init__" or (
            caller and {caller.parent, path.parent} == {PACKAGE / "config"}
        )
        if checks_itself or not any(holds_settings(value) for value in arguments):
            return
        files.add(str(path.relative_to(PACKAGE)))
        if caller and PACKAGE in caller.parents and heights[part_of(path)] > heights[part_of(caller)]:
            calls_up.append(f"{caller.name} calls {path.name}:{code.co_name}")

    for number, image in enumerate(sorted((room / "color").iterdir())):
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.ones((4, 6), np.uint8)).save(tmp_path / "masks" / f"{image.stem}.png")
        (tmp_path / "scores").mkdir(exist_ok=True)
        np.save(
            tmp_path / "scores" / f"{image.stem}.npy",
            np.random.default_rng(number).random((3, 4, 6)).astype(np.float32),
        )
    given = ["--clip", str(tmp_path / "scores"), "--sam", str(tmp_path / "masks"), "--classes", CLASSES]
    monkeypatch.setattr("labelfree.runtime.side_by_side.torch.get_num_threads", lambda: 1)  # one thread sees it all
    command = ["train", str(room), *given, *TINY, "--out"]
    assert main([*command, str(tmp_path / "first")]) == 0  # imports everything
    sys.settrace(watch)
    try:
        with pytest.raises(LossReached):
            main([*command, str(tmp_path / "out")])
    finally:
        sys.settrace(None)
    print(len(files), calls_up, " ".join(sorted(files)))
    assert len(files) <= MOST_FILES, " ".join(sorted(files))
    assert len(calls_up) <= MOST_CALLS_UP, calls_up
