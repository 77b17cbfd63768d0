"""Sweeps of a described rig as scenes, and the layout that opens them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.lidar_rig.calibration import camera_matrices
from labelfree.data.lidar_rig.description import LAYOUT, RigCamera, RigDescription, is_rig, read_rig
from labelfree.data.lidar_rig.sweeps import class_table, classes_of, read_point_labels, read_sweep
from labelfree.data.patterns import Pattern
from labelfree.data.posed_rgbd import ASPECT_TOLERANCE, picture_size
from labelfree.data.source import Count, Layout, OpenedDataset, Progress, ReadOptions, Survey
from labelfree.errors import InputError
from labelfree.raster import ImageFile
from labelfree.scene import Frame, Scene


@dataclass(frozen=True)
class RawLabels:
    """A picture of raw label ids, read as classes."""

    path: Path
    table: NDArray[np.int64] = field(repr=False, compare=False)

    def load(self) -> NDArray[Any]:
        """Return uint8 [H, W]."""
        raw = ImageFile(self.path).load()
        if raw.ndim != 2:
            raise InputError(f"{self.path}: expected label ids [H, W], found a picture of shape {list(raw.shape)}.")
        return classes_of(raw.astype(np.int64), self.table, str(self.path))

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return ImageFile(self.path).digest()

    def describe(self) -> str:
        """Return the path."""
        return str(self.path)


@dataclass(frozen=True)
class Rig:
    """A described folder: its files by sweep, its calibration read once."""

    description: RigDescription
    base: Path

    @cached_property
    def sweeps(self) -> dict[str, Path]:
        """Files by the sweep's name."""
        return Pattern(self.description.points).find(self.base)

    @cached_property
    def point_labels(self) -> dict[str, Path] | None:
        """Label files by the sweep's name."""
        stated = self.description.point_labels
        return None if stated is None else Pattern(stated).find(self.base)

    @cached_property
    def pictures(self) -> dict[str, dict[str, Path]]:
        """Pictures of each camera by the sweep's name."""
        return {camera.name: Pattern(camera.images).find(self.base) for camera in self.description.cameras}

    @cached_property
    def pixel_labels(self) -> dict[str, dict[str, Path]]:
        """Label pictures of each camera that has some, by the sweep's name."""
        stated = ((camera.name, camera.labels) for camera in self.description.cameras)
        return {name: Pattern(labels).find(self.base) for name, labels in stated if labels is not None}

    @cached_property
    def matrices(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Intrinsics and lidar_to_camera of each camera."""
        return {camera.name: camera_matrices(camera, self.base) for camera in self.description.cameras}

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """From raw label ids to classes."""
        return class_table(self.description)


@dataclass(frozen=True)
class SweepSource:
    """One sweep; its points lie in the LiDAR's frame, metres."""

    name: str
    rig: Rig

    def build(self) -> Scene:
        """Return the points that are returns, their labels if there are any, and a frame for each camera."""
        sweep = read_sweep(self.rig.sweeps[self.name], self.rig.description)
        labels = None
        if self.rig.point_labels is not None:
            path = self._file(self.rig.point_labels, self.rig.description.point_labels, "point_labels")
            labels = read_point_labels(path, sweep, self.rig.table)
        frames = tuple(self._frame(camera) for camera in self.rig.description.cameras)
        return Scene(self.name, sweep.points, frames, None, sweep.intensity, labels)

    def faults(self) -> tuple[str, ...]:
        """Return which files are missing, of a wrong size or empty."""
        return tuple(self._faults())

    def _faults(self) -> Iterator[str]:
        try:
            sweep = read_sweep(self.rig.sweeps[self.name], self.rig.description)
            if self.rig.point_labels is not None:
                path = self._file(self.rig.point_labels, self.rig.description.point_labels, "point_labels")
                read_point_labels(path, sweep, self.rig.table)
        except InputError as error:
            yield str(error)
        for camera in self.rig.description.cameras:
            try:
                self._frame(camera)
            except InputError as error:
                yield str(error)

    def _file(self, files: dict[str, Path], pattern: str | None, told_by: str) -> Path:
        if not files:
            advice = f"restore the files, or take {told_by} out of the description"
            raise InputError(f"{self.rig.base}: nothing matches {pattern}; {advice}.")
        if self.name not in files:
            missing = self.rig.base / Pattern(pattern or "").fill(self.name)
            raise InputError(f"{missing}: sweep '{self.name}' has no such file; restore it or take the sweep out.")
        return files[self.name]

    def _frame(self, camera: RigCamera) -> Frame:
        path = self._file(self.rig.pictures[camera.name], camera.images, f"camera '{camera.name}'")
        labels = None
        if camera.labels is not None:
            told_by = f"the labels of camera '{camera.name}'"
            file = self._file(self.rig.pixel_labels[camera.name], camera.labels, told_by)
            labels = RawLabels(file, self.rig.table)
        size = picture_size(path)
        intrinsics, lidar_to_camera = self.rig.matrices[camera.name]
        own = camera.intrinsics_size or size
        if abs(own[1] * size[0] / (own[0] * size[1]) - 1) > ASPECT_TOLERANCE:
            raise InputError(
                f"{path}: is {size[1]}x{size[0]} pixels, another shape than the {own[1]}x{own[0]} of intrinsics_size."
            )
        centre = (intrinsics[0, 2] / own[1], intrinsics[1, 2] / own[0])
        if not (0.2 < centre[0] < 0.8 and 0.2 < centre[1] < 0.8):
            raise InputError(
                f"{path}: is {size[1]}x{size[0]} pixels but the centre of camera '{camera.name}' lies at "
                f"{intrinsics[0, 2]:.0f}, {intrinsics[1, 2]:.0f}; give intrinsics_size: [height, width] of its picture."
            )
        scaled = np.diag([size[1] / own[1], size[0] / own[0], 1.0]) @ intrinsics
        return Frame(camera.name, ImageFile(path), scaled, lidar_to_camera, size, None, 1.0, labels)


def open_rig(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open the sweeps that a description speaks of."""
    rig = _rig(path, root, options)
    return OpenedDataset(_sources(rig, options), rig.description.names(), _notes(rig))


def _rig(path: Path, root: Path | None, options: ReadOptions) -> Rig:
    if options.split is not None:
        raise InputError(f"{path}: described sweeps have no splits; leave '{options.split}' out.")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; --layout {LAYOUT} reads a description (.yaml), see docs/own-data.md.")
    description = read_rig(path)
    base = root or (path.parent / description.root if description.root else path.parent)
    if not base.is_dir():
        raise InputError(f"{base}: the data's folder does not exist; give it with --root DIR.")
    rig = Rig(description, base)
    if not rig.sweeps:
        raise InputError(f"{base}: no sweep matches '{description.points}'; check --root or key 'points' of {path}.")
    return rig


def _sources(rig: Rig, options: ReadOptions) -> tuple[SweepSource, ...]:
    every = (options.every or 1) * rig.description.every
    return tuple(SweepSource(name, rig) for name in list(rig.sweeps)[::every][: options.limit])


def _notes(rig: Rig) -> tuple[str, ...]:
    return () if rig.description.cameras else (f"{rig.base}: no cameras are described, nothing can be trained on it",)


def survey_rig(path: Path, root: Path | None, options: ReadOptions, progress: Progress) -> Survey:
    """Look at every sweep, label file and picture's header."""
    rig = _rig(path, root, options)
    sources, problems = _sources(rig, options), dict[str, None]()
    for place, source in enumerate(sources):
        problems |= dict.fromkeys(source.faults())  # What is wrong with every sweep is said once.
        progress(place + 1, len(sources))
    frames = len(sources) * len(rig.description.cameras)
    given = "" if root is None else f" --root {root}"
    command = f"labelfree run {path}{given} --out runs/{path.stem}"
    if not frames:
        command = f"labelfree predict RUN {path}{given} --out predicted/{path.stem}"
    counts = (Count("sweeps", len(sources)), Count("pictures", frames))
    return Survey(LAYOUT, counts, tuple(problems), _notes(rig), frames, command)


LIDAR = Layout(LAYOUT, is_rig, open_rig, survey_rig)
