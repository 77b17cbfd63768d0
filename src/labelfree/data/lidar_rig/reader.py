"""Read the sweeps of a described rig as scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.description import Incomplete
from labelfree.data.integrity import ASPECT_TOLERANCE, check_image, frame_faults
from labelfree.data.layout import Count, Layout, OpenedDataset, ReadOptions, Survey, SurveyProgress
from labelfree.data.lidar_rig.calibration import camera_matrices
from labelfree.data.lidar_rig.description import LAYOUT, RigCamera, RigDescription, is_rig, read_rig
from labelfree.data.lidar_rig.sweeps import class_table, classes_of, raw_ids, read_point_labels, read_sweep
from labelfree.data.patterns import Pattern
from labelfree.data.poses import scaled_intrinsics
from labelfree.data.sources import checked_sources
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file
from labelfree.files.decoding import picture_size
from labelfree.raster import ImageFile, MapFile
from labelfree.scene import Frame, Scene


@dataclass(frozen=True)
class RawLabels:
    """A label map of raw ids in a file, read as classes."""

    path: Path
    table: NDArray[np.int64] = field(repr=False, compare=False)

    def load(self) -> NDArray[Any]:
        """Return the classes, uint8 [H, W]; raises an `InputError` if the file has several channels or unknown ids."""
        raw = MapFile(self.path).load()
        if raw.ndim != 2:
            raise InputError(f"{self.path}: expected label ids [H, W], found an image of shape {list(raw.shape)}.")
        return classes_of(raw.astype(np.int64), self.table, str(self.path))

    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return MapFile(self.path).digest()

    def check(self, thorough: bool) -> None:
        """Raise an `InputError` if the file is truncated or damaged."""
        check_image(self.path, thorough)

    def describe(self) -> str:
        """Return the path."""
        return str(self.path)


@dataclass(frozen=True)
class Rig:
    """A described folder: its files by sweep and its calibration, which is read once."""

    description: RigDescription
    base: Path

    @cached_property
    def sweeps(self) -> dict[str, Path]:
        """Return the point files by sweep name."""
        return Pattern(self.description.points).find(self.base)

    @cached_property
    def taken(self) -> list[str]:
        """Return the names of the sweeps; if incomplete ones are skipped, only those with at least one image."""
        if self.description.incomplete is Incomplete.ERROR or not self.description.cameras:
            return list(self.sweeps)
        return [name for name in self.sweeps if any(name in found for found in self.pictures.values())]

    @cached_property
    def point_labels(self) -> dict[str, Path] | None:
        """Return the label files by sweep name; None if the description names none."""
        stated = self.description.point_labels
        return None if stated is None else Pattern(stated).find_for(self.base, self.sweeps)

    @cached_property
    def pictures(self) -> dict[str, dict[str, Path]]:
        """Return the images of each camera by sweep name."""
        cameras = self.description.cameras
        return {camera.name: Pattern(camera.images).find_for(self.base, self.sweeps) for camera in cameras}

    @cached_property
    def pixel_labels(self) -> dict[str, dict[str, Path]]:
        """Return the label maps by sweep name, for each camera with labels."""
        stated = ((camera.name, camera.labels) for camera in self.description.cameras)
        return {name: Pattern(labels).find_for(self.base, self.sweeps) for name, labels in stated if labels is not None}

    def require_names(self) -> None:
        """Raise an `InputError` if a pattern finds files but none has the name of a sweep."""
        _ = self.point_labels, self.pictures, self.pixel_labels

    def matrices(self, camera: RigCamera, sweep: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the intrinsics [3, 3] and lidar_to_camera [4, 4] of a camera; shared calibration is read once."""
        own = camera.of_sweep(sweep)
        return camera_matrices(own, self.base) if own != camera else self._shared[camera.name]

    @cached_property
    def _shared(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        cameras = (camera for camera in self.description.cameras if camera.of_sweep("") == camera)
        return {camera.name: camera_matrices(camera, self.base) for camera in cameras}

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """Return the table from raw label ids to classes."""
        return class_table(self.description.classes, self.description.ignored)


@dataclass(frozen=True)
class SweepSource:
    """One sweep on disk; its points are in the LiDAR's frame, in metres."""

    sweep: str
    rig: Rig
    sequence: str | None = None
    """Name of the sequence in a dataset of several, whose sweeps may have equal names."""

    @property
    def name(self) -> str:
        """Return the sweep's name, with the sequence's name in front if there is one."""
        return self.sweep if self.sequence is None else f"{self.sequence}_{self.sweep}"

    def build(self) -> Scene:
        """Return a scene of valid returns, their labels if there are any, and one frame per camera."""
        sweep = read_sweep(self.rig.sweeps[self.sweep], self.rig.description)
        labels = None
        if self.rig.point_labels is not None:
            path = self._file(self.rig.point_labels, self.rig.description.point_labels, "point_labels")
            labels = read_point_labels(path, sweep, self.rig.table)
        frames = tuple(self._frame(camera) for camera in self.cameras())
        return Scene(self.name, sweep.points, frames, None, sweep.intensity, labels)

    def submission_file(self, folder: Path, split: str | None) -> Path:
        """Return the path `predictions/NAME.label`, in the folder of the sequence if there is one."""
        inside = "predictions" if self.sequence is None else f"sequences/{self.sequence}/predictions"
        return folder / inside / f"{self.sweep}.label"

    def submit(self, labels: NDArray[np.uint8], folder: Path, split: str | None) -> Path:
        """Write `predictions/NAME.label` in SemanticKITTI's format: uint32 raw ids of all stored points, 0 for none."""
        sweep = read_sweep(self.rig.sweeps[self.sweep], self.rig.description)
        stored = np.zeros(len(sweep.kept), np.uint32)
        stored[sweep.kept] = raw_ids(self.rig.description)[labels]
        path = self.submission_file(folder, split)
        with atomic_file(path) as file:
            file.write(stored.tobytes())
        return path

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return which files are missing, truncated, of a wrong size or empty, one sentence each."""
        return tuple(self._faults(thorough))

    def _faults(self, thorough: bool) -> Iterator[str]:
        try:
            sweep = read_sweep(self.rig.sweeps[self.sweep], self.rig.description)
            if self.rig.point_labels is not None:
                path = self._file(self.rig.point_labels, self.rig.description.point_labels, "point_labels")
                read_point_labels(path, sweep, self.rig.table)
        except InputError as error:
            yield str(error)
        for camera in self.cameras():
            try:
                yield from frame_faults([self._frame(camera)], thorough)
            except InputError as error:
                yield str(error)

    def cameras(self) -> tuple[RigCamera, ...]:
        """Return the cameras; if incomplete sweeps are skipped, those with an image of this sweep."""
        cameras = self.rig.description.cameras
        if self.rig.description.incomplete is Incomplete.ERROR:
            return cameras
        return tuple(camera for camera in cameras if self.sweep in self.rig.pictures[camera.name])

    def _file(self, files: dict[str, Path], pattern: str | None, told_by: str) -> Path:
        if not files:
            advice = f"restore the files, or remove {told_by} from the description"
            raise InputError(f"{self.rig.base}: nothing matches {pattern}; {advice}.")
        if self.sweep not in files:
            missing = self.rig.base / Pattern(pattern or "").fill(self.sweep)
            raise InputError(f"{missing}: sweep '{self.sweep}' has no such file; restore it or remove the sweep.")
        return files[self.sweep]

    def _frame(self, camera: RigCamera) -> Frame:
        path = self._file(self.rig.pictures[camera.name], camera.images, f"camera '{camera.name}'")
        labels = None
        if camera.labels is not None:
            told_by = f"the labels of camera '{camera.name}'"
            file = self._file(self.rig.pixel_labels[camera.name], camera.labels, told_by)
            labels = RawLabels(file, self.rig.table)
        size = picture_size(path)
        intrinsics, lidar_to_camera = self.rig.matrices(camera, self.sweep)
        own = camera.intrinsics_size or size
        if abs(own[1] * size[0] / (own[0] * size[1]) - 1) > ASPECT_TOLERANCE:
            raise InputError(
                f"{path}: is {size[1]}x{size[0]} pixels, another shape than the {own[1]}x{own[0]} of intrinsics_size."
            )
        centre = (intrinsics[0, 2] / own[1], intrinsics[1, 2] / own[0])
        if not (0.2 < centre[0] < 0.8 and 0.2 < centre[1] < 0.8):
            raise InputError(
                f"{path}: is {size[1]}x{size[0]} pixels but the centre of camera '{camera.name}' lies at "
                f"{intrinsics[0, 2]:.0f}, {intrinsics[1, 2]:.0f}; set intrinsics_size: [height, width] of its image."
            )
        scaled = scaled_intrinsics(intrinsics, own, size)
        return Frame(camera.name, ImageFile(path), scaled, lidar_to_camera, size, None, 1.0, labels)


def open_rig(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open the sweeps that a description names.

    Raises an `InputError` if the description is invalid or no sweep matches its pattern.
    """
    rig, notes = _rig(path, root, options)
    return OpenedDataset(sweeps_of(rig, options), rig.description.names(), notes)


def _rig(path: Path, root: Path | None, options: ReadOptions) -> tuple[Rig, tuple[str, ...]]:
    if options.split is not None:
        raise InputError(f"{path}: described sweeps have no splits; leave '{options.split}' out.")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; --layout {LAYOUT} reads a description (.yaml), see docs/datasets.md.")
    description = read_rig(path)
    base = root or (path.parent / description.root if description.root else path.parent)
    if not base.is_dir():
        raise InputError(f"{base}: the data's folder does not exist; give it with --root DIR.")
    rig, notes = rig_at(description, base)
    if not rig.sweeps:
        raise InputError(f"{base}: no sweep matches '{description.points}'; check --root or key 'points' of {path}.")
    return rig, notes


def rig_at(description: RigDescription, base: Path) -> tuple[Rig, tuple[str, ...]]:
    """Return the described folder and notes; with `incomplete: skip`, cameras and labels without files are left out."""
    notes = list[str]()
    if description.incomplete is Incomplete.SKIP:
        cameras = tuple(camera for camera in description.cameras if _there(camera, base, notes))
        labels = description.point_labels
        if labels is not None and not Pattern(labels).find(base):
            notes.append(f"{base}: nothing matches {labels}: the points have no ground truth")
            labels = None
        description = replace(description, cameras=cameras, point_labels=labels)
    rig = Rig(description, base)
    rig.require_names()
    if not description.cameras:
        notes.append(f"{base}: no cameras are described or found, nothing can be trained on it")
    elif len(rig.taken) < len(rig.sweeps):
        notes.append(f"{base}: {len(rig.sweeps) - len(rig.taken)} sweeps without an image are left out")
    return rig, tuple(notes)


def _there(camera: RigCamera, base: Path, notes: list[str]) -> bool:
    pictures = Pattern(camera.images).find(base)
    of_one = camera.of_sweep(next(iter(pictures), ""))
    missing = next((source.file for source in of_one.calibration() if not (base / source.file).is_file()), None)
    if not pictures:
        notes.append(f"{base}: nothing matches {camera.images}, camera '{camera.name}' is left out")
    elif missing is not None:
        notes.append(f"{base / missing}: is missing, camera '{camera.name}' is left out")
    return bool(pictures) and missing is None


def sweeps_of(rig: Rig, options: ReadOptions, sequence: str | None = None) -> tuple[SweepSource, ...]:
    """Return the selected sweeps."""
    taken = rig.taken[:: options.stride(rig.description.every)][: options.limit]
    return tuple(SweepSource(name, rig, sequence) for name in taken)


def survey_rig(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Check every sweep, label file and image header of a description."""
    rig, notes = _rig(path, root, options)
    sources = sweeps_of(rig, options)
    return survey_sweeps(LAYOUT, sources, notes, rig.description.names(), progress)


def survey_sweeps(
    layout: str,
    sources: Sequence[SweepSource],
    notes: tuple[str, ...],
    classes: tuple[str, ...] | None,
    progress: SurveyProgress,
) -> Survey:
    """Check the files of sweeps; count sweeps and images."""
    problems, frames = dict[str, None](), 0
    for source, found in checked_sources(sources, progress):
        problems |= dict.fromkeys(found)  # a fault of every sweep is listed once
        frames += len(source.cameras())
    counts = (Count("sweeps", len(sources)), Count("images", frames))
    return Survey(layout, counts, tuple(problems), notes, frames, classes)


LIDAR = Layout(LAYOUT, is_rig, open_rig, survey_rig, "nuscenes", depth=False)
