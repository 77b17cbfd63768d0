"""Checks of scenes on disk, whatever their layout: faults, calibrations, scenes left out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from labelfree.data.calibrations import Calibration
from labelfree.data.layout import CalibratedSource, OpenedDataset, ReadOptions, SceneSource, SurveyProgress
from labelfree.errors import InputError
from labelfree.files.documents import reading
from labelfree.files.names import require_safe_name

SourceT = TypeVar("SourceT", bound=SceneSource)


def calibrations_of(sources: Sequence[SceneSource]) -> list[Calibration]:
    """Return the calibrations of the scenes that have one; scenes whose files cannot be read are skipped."""
    found = []
    for source in sources if sources and isinstance(sources[0], CalibratedSource) else ():
        with contextlib.suppress(InputError, OSError):
            found.append(cast(CalibratedSource, source).calibration())
    return found


def faults_of(source: SceneSource, thorough: bool = False) -> tuple[str, ...]:
    """Return what is wrong with a scene's files, including files that the system cannot read."""
    try:
        with reading(Path(source.name)):
            return source.faults(thorough)
    except InputError as error:
        return (str(error),)


def leave_out_broken(path: Path, opened: OpenedDataset, options: ReadOptions) -> OpenedDataset:
    """Return the dataset; with `skip_broken`, without the scenes that cannot be read.

    Raises an `InputError` if no scene is left or a scene's name is not a safe file name.
    """
    sources, notes = tuple(opened.sources), opened.notes
    if not sources:
        raise InputError(f"{path}: holds no scene; unpack its tables and files again, or give another folder.")
    for source in sources:
        require_safe_name(source.name, f"{path}: the name of a scene")
    if options.skip_broken:
        broken = {source.name: faults[0] for source in sources if (faults := faults_of(source))}
        sources = tuple(source for source in sources if source.name not in broken)
        notes += tuple(f"scene '{name}' is left out: {fault}" for name, fault in broken.items())
        if not sources:
            raise InputError(f"{path}: no scene is left after leaving out the broken ones; {notes[-1]}")
    return replace(opened, sources=sources, notes=notes)


def checked_sources(sources: Sequence[SourceT], progress: SurveyProgress) -> Iterator[tuple[SourceT, tuple[str, ...]]]:
    """Yield each scene with its faults after a thorough check, and report the progress."""
    for place, source in enumerate(sources):
        yield source, faults_of(source, thorough=True)
        progress(place + 1, len(sources))
