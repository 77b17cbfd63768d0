"""Suggest the next command for surveyed data: verb, data arguments, classes and recipe."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labelfree.data.layout import Layout, ReadOptions, Survey

INDOORS, OUTDOORS = "wall, floor, chair", "nuscenes16"
"""Example class names in place of the user's own, for rooms and for streets."""
PAPER_INDOORS = "scannet"
"""Recipe with the paper's teachers and networks for RGB-D data; the default recipe `quick` uses the lab's."""
EXAMPLE_NOTE = "the data has no class names: those in the command are an example, replace them with your own"
RUN_NOTE = "RUN is the folder of a finished run: nothing can be trained on this data"


@dataclass(frozen=True)
class GivenData:
    """The data arguments of a command."""

    path: Path
    root: Path | None = None
    layout: str | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    classes: str | None = None
    """`--classes` as given."""

    def words(self) -> list[str]:
        """Return the command-line words that name the same data again."""
        named = (
            ("--root", self.root),
            ("--layout", self.layout),
            ("--split", self.reading.split),
            ("--every", self.reading.every),
            ("--limit", self.reading.limit),
        )
        words = [str(self.path)]
        for option, value in named:
            words += [] if value is None else [option, str(value)]
        return [*words, "--skip-broken"] if self.reading.skip_broken else words

    @property
    def name(self) -> str:
        """Return the name of the folder or of the description file."""
        path = self.path.resolve()
        return path.stem if path.is_file() else path.name


@dataclass(frozen=True)
class NextStep:
    """A command that runs as printed, and notes about it."""

    command: str
    notes: tuple[str, ...] = ()


def next_step(given: GivenData, layout: Layout, found: Survey, recipe: str) -> NextStep:
    """Return the first command to run on surveyed data."""
    if layout.images_only:
        return NextStep(_line("evaluate", ["RUN", *given.words(), "--networks-only"]), (RUN_NOTE,))
    name = given.name if layout.preset is None else layout.name
    if not found.frames:
        return NextStep(_line("predict", ["RUN", *given.words(), "--out", f"predicted/{name}"]), (RUN_NOTE,))
    classes, example = _classes(given, layout, found.classes)
    words = [*given.words(), *classes, "--recipe", recipe, "--out", f"runs/{name}"]
    return NextStep(_line(layout.first_verb, words), (EXAMPLE_NOTE,) if example else ())


def real_work_command(given: GivenData, layout: Layout, out: Path) -> str:
    """Return the command that repeats a run with the paper's teachers instead of the lab's, in another run folder."""
    recipe = PAPER_INDOORS if layout.recipe == Layout.recipe else layout.recipe
    classes = [] if given.classes is None else ["--classes", given.classes]
    return _line("run", [*given.words(), *classes, "--recipe", recipe, "--out", f"{out}-{recipe}"])


def _classes(given: GivenData, layout: Layout, own: tuple[str, ...] | None) -> tuple[list[str], bool]:
    """Return the command-line words that name the classes, and whether they are an example."""
    stated = given.classes or layout.preset
    if stated is not None:
        return ["--classes", stated], False
    if own is not None:
        return [], False
    outdoors = layout.recipe == "nuscenes"
    return ["--classes", OUTDOORS if outdoors else INDOORS], True


def _line(verb: str, words: Sequence[str]) -> str:
    return shlex.join(["labelfree", verb, *words])
