"""Read nerfstudio's `transforms.json` with depth, as exported by Polycam, Record3D and ARKit apps.

Source: docs.nerf.studio/quickstart/data_conventions.html. Poses are camera_to_world with OpenGL axes (x right, y up, z
back). Translations in metres were multiplied by `applied_scale`, which is undone here. `applied_transform` was applied
to poses and point cloud alike, so it needs no inverse.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.data.calibrations import Calibration, StatedIntrinsics, calibration_notes, doubts
from labelfree.data.fusion import FusionOptions, fuse_cached
from labelfree.data.integrity import check_raster
from labelfree.data.layout import Count, Layout, OpenedDataset, ReadOptions, Survey, SurveyProgress
from labelfree.data.numbers import LARGEST_SIDE, finite_array, finite_number, whole_number
from labelfree.data.patterns import natural_order
from labelfree.data.point_cloud import PointCloud
from labelfree.data.point_files import check_points, read_points
from labelfree.data.poses import CameraAxes, PoseConvention, scaled_intrinsics
from labelfree.data.sources import calibrations_of, checked_sources
from labelfree.errors import InputError, shown
from labelfree.files.decoding import picture_size
from labelfree.files.documents import one_line, read_json
from labelfree.files.metrics import is_number
from labelfree.raster import ArrayFile, ImageFile, MapFile, Raster
from labelfree.scene import Frame, Scene

FILE = "transforms.json"
DEPTH_UNIT_M = 0.001
"""Metres per unit of 16-bit depth, nerfstudio's default; key `depth_unit_scale_factor` overrides it."""
SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
"""Suffixes that are tried for a `file_path` without one, as in Blender's scenes."""
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
SMALL_DISTORTION = 0.02
"""Distortion coefficients up to this move points of a usual image by one or two pixels."""
KNOWN_CAMERAS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
FOCAL_KEYS = ("fl_x", "camera_angle_x")
INTRINSICS_KEYS = (*FOCAL_KEYS, "fl_y", "cx", "cy")
AXES = PoseConvention(camera_axes=CameraAxes.OPENGL)


@dataclass(frozen=True)
class NerfstudioSource:
    """One capture; `transforms.json` is read on first access."""

    name: str
    folder: Path
    every: int = 1
    """Take every n-th frame."""
    limit: int | None = None
    """Take at most this many frames."""
    cache_dir: Path | None = None
    """Folder in which a fused cloud is kept."""

    @property
    def path(self) -> Path:
        """Return the path of the capture's `transforms.json`."""
        return self.folder / FILE

    @cached_property
    def data(self) -> dict[str, Any]:
        """Return the content of the file; raises an `InputError` if it has no frames or an unknown camera model."""
        data = read_json(self.path, fix="export the capture again")
        if not isinstance(data, dict) or not isinstance(data.get("frames"), list) or not data["frames"]:
            raise InputError(f"{self.path}: has no list 'frames'; export the capture again.")
        camera = data.get("camera_model", "OPENCV")
        if camera not in KNOWN_CAMERAS:
            raise InputError(f"{self.path}: camera_model is '{camera}': undistort the images and write OPENCV.")
        return data

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return which files are missing, empty or truncated and which frames cannot be read, one sentence each."""
        try:
            entries = self._entries()
        except InputError as error:
            return (str(error),)
        found: list[str] = []
        for entry in entries:
            try:
                broken = tuple(self._broken(entry, thorough))
                found += broken
                if not broken:
                    self._frame(entry, entry["name"])
            except InputError as error:
                found.append(str(error))
        try:
            path = self._cloud_path()
            if path is not None:
                check_points(path)
            elif not found and not any("depth_file_path" in entry for entry in entries):
                found.append(self._nothing_in_3d())
        except InputError as error:
            found.append(str(error))
        return tuple(found)

    def _broken(self, entry: dict[str, Any], thorough: bool) -> Iterator[str]:
        """Yield a sentence for each damaged or missing file of a frame."""
        for find in (lambda: ImageFile(self._file(entry["file_path"])), lambda: self._depth(entry)):
            try:
                raster = find()  # type: ignore[no-untyped-call]
                if raster is not None:
                    check_raster(raster, thorough)
            except InputError as error:
                yield str(error)

    def calibration(self) -> Calibration:
        """Return whether the intrinsics are stated for the file or for each frame, and which statements disagree."""
        entries = self._entries()
        own = sum(any(key in entry for key in INTRINSICS_KEYS) for entry in entries)
        shared = any(key in self.data for key in INTRINSICS_KEYS)
        kind = "the file's" if not own else f"each frame's ({own} of {len(entries)} frames)"
        if own and shared:
            kind += ", else the file's"
        if any(self._camera(entry, key) is None for entry in entries for key in ("cx", "cy")):
            kind += "; cx or cy is not stated, the centre of the image is used"
        return Calibration(f"{self.path}: {kind}", f"{FILE}: {kind}", tuple(self._doubts(entries)))

    def _doubts(self, entries: list[dict[str, Any]]) -> Iterator[str]:
        """Yield a sentence for the first frame whose intrinsics are stated twice with different values."""
        for entry in entries:
            name, file = entry["name"], entry["file_path"]
            shown = picture_size(self._file(file))
            matrix, of = self._intrinsics(entry, name, shown)
            used = StatedIntrinsics(f"{self.path} (frame '{name}')", matrix)
            others = []
            if any(key in entry for key in INTRINSICS_KEYS) and any(key in self.data for key in FOCAL_KEYS):
                other, size = self._intrinsics({}, name, shown)
                others.append(
                    StatedIntrinsics(f"the values for all frames of {FILE}", scaled_intrinsics(other, size, of))
                )
            angle = self._camera(entry, "camera_angle_x")
            if angle and self._camera(entry, "fl_x"):
                by_angle = matrix.copy()
                by_angle[0, 0] = self._focal(angle, of[1], name)
                others.append(StatedIntrinsics("its camera_angle_x", by_angle))
            found = doubts(used, others)
            if found:
                yield from found
                return

    def notes(self) -> tuple[str, ...]:
        """Return a note on lens distortion, if there is any.

        Raises an `InputError` if a coefficient is not a number.
        """
        stated = (self._camera(entry, key) for entry in self._entries() for key in DISTORTION)
        try:
            worst = max((abs(finite_number(value or 0)) for value in stated), default=0.0)
        except ValueError as error:
            names = ", ".join(DISTORTION)
            raise InputError(
                f"{self.path}: its lens distortion ({names}): {error}; export the capture again."
            ) from error
        if worst == 0:
            return ()
        what = "small enough to be ignored" if worst <= SMALL_DISTORTION else "ignored: undistort the images first"
        return (f"{self.path}: lens distortion of up to {worst:g} is {what}",)

    def build(self) -> Scene:
        """Return the scene; its cloud is read or, without a file, fused from the depth maps.

        Raises an `InputError` if there is neither a cloud nor a depth map, or a frame cannot be read.
        """
        frames = tuple(self._frame(entry, entry["name"]) for entry in self._entries())
        path = self._cloud_path()
        if path is not None:
            cloud = read_points(path)
            points = cloud.points / cloud.points.dtype.type(self._scale)
        elif any(frame.depth is not None for frame in frames):
            fused = fuse_cached(frames, FusionOptions(), self.cache_dir)
            cloud = PointCloud(fused.points_world, fused.colours, None, fused.labels)
            points = cloud.points
        else:
            raise InputError(self._nothing_in_3d())
        return Scene(self.name, points, frames, cloud.colours, cloud.intensity, cloud.labels)

    def frame_count(self) -> int:
        """Return the number of selected frames."""
        return len(self._entries())

    def _entries(self) -> list[dict[str, Any]]:
        """Return the selected frames in the natural order of their files, each with a unique `name`."""
        found: dict[str, dict[str, Any]] = {}
        for place, entry in enumerate(self.data["frames"]):
            file = entry.get("file_path") if isinstance(entry, dict) else None
            if not isinstance(file, str) or not file:
                raise InputError(f"{self.path}: frame {place} has no 'file_path'; export the capture again.")
            if file in found:
                raise InputError(f"{self.path}: '{file}' appears twice; keep one of the two.")
            found[file] = entry
        stems = {file: Path(file).stem for file in found}
        unique = len(set(stems.values())) == len(stems)
        named = {stems[file] if unique else file.strip("./").replace("/", "-"): entry for file, entry in found.items()}
        return [named[name] | {"name": name} for name in natural_order(named)][:: self.every][: self.limit]

    def _camera(self, entry: dict[str, Any], key: str) -> Any:
        return entry.get(key, self.data.get(key))

    @cached_property
    def _scale(self) -> float:
        scale = self.data.get("applied_scale", 1.0)
        if not is_number(scale) or scale <= 0:
            raise InputError(f"{self.path}: applied_scale is {shown(scale)}, expected a positive number; correct it.")
        return float(scale)

    def _frame(self, entry: dict[str, Any], name: str) -> Frame:
        picture = self._file(entry["file_path"])
        depth = self._depth(entry)
        shown = picture_size(picture)
        grid = shown if depth is None else self._depth_size(depth)
        intrinsics, of = self._intrinsics(entry, name, shown)
        scaled = scaled_intrinsics(intrinsics, of, grid)
        per_metre = 1 / self._depth_unit_m(entry)
        if isinstance(depth, ArrayFile):  # floating depth is metres already
            per_metre = 1.0 if np.issubdtype(depth.dtype(), np.floating) else per_metre
        try:
            return Frame(name, ImageFile(picture), scaled, AXES.decode(self._pose(entry, name)), grid, depth, per_metre)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error

    def _depth_unit_m(self, entry: dict[str, Any]) -> float:
        unit = self._camera(entry, "depth_unit_scale_factor") or DEPTH_UNIT_M
        if not is_number(unit) or unit <= 0:
            raise InputError(
                f"{self.path}: depth_unit_scale_factor is {shown(unit)}, expected a positive number of metres; "
                "correct it."
            )
        return float(unit)

    def _pose(self, entry: dict[str, Any], name: str) -> NDArray[np.float64]:
        try:
            matrix = finite_array(entry["transform_matrix"])
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{self.path}: frame '{name}' has no 'transform_matrix' of numbers ({one_line(error)}); remove the "
                "frame."
            ) from error
        if matrix.shape == (3, 4):
            matrix = np.vstack([matrix, [0, 0, 0, 1]])
        if matrix.shape != (4, 4):
            raise InputError(f"{self.path}: frame '{name}' has a transform_matrix that is not 4x4; remove the frame.")
        matrix[:3, 3] /= self._scale
        return matrix

    def _intrinsics(
        self, entry: dict[str, Any], name: str, shown: tuple[int, int]
    ) -> tuple[NDArray[np.float64], tuple[int, int]]:
        """Return the matrix in pixels and the (height, width) of the image that it belongs to."""
        try:
            height, width = (self._camera(entry, key) or side for key, side in zip("hw", shown))
            of = whole_number(height, 1, LARGEST_SIDE), whole_number(width, 1, LARGEST_SIDE)
            angle = self._camera(entry, "camera_angle_x")
            focal_x = self._camera(entry, "fl_x") or (self._focal(angle, of[1], name) if angle else None)
            if focal_x is None:
                raise InputError(f"{self.path}: frame '{name}' has neither 'fl_x' nor 'camera_angle_x'.")
            focal_y = self._camera(entry, "fl_y") or focal_x
            centre = [self._camera(entry, key) for key in ("cx", "cy")]
            u, v = (half if stated is None else stated for stated, half in zip(centre, (of[1] / 2, of[0] / 2)))
            matrix = finite_array([[focal_x, 0, u], [0, focal_y, v], [0, 0, 1]])
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.path}: frame '{name}' has intrinsics that are not numbers ({error}); export the capture again."
            ) from error
        if abs(of[1] * shown[0] / (of[0] * shown[1]) - 1) > 0.02:
            raise InputError(
                f"{self.path}: frame '{name}' states {of[1]}x{of[0]} pixels but its image has {shown[1]}x{shown[0]}, "
                "another shape; export the capture again."
            )
        return matrix, of

    def _focal(self, angle: Any, width: int, name: str) -> float:
        """Return the focal length, in pixels, of a horizontal angle of view in radians."""
        if not is_number(angle) or not 0 < angle < math.pi:
            raise InputError(
                f"{self.path}: frame '{name}' has the camera_angle_x {shown(angle)}, expected radians between 0 and "
                "pi; correct it."
            )
        return 0.5 * width / math.tan(0.5 * angle)

    def _depth(self, entry: dict[str, Any]) -> Raster | None:
        file = entry.get("depth_file_path")
        if not file:
            return None
        path = self._file(file)
        return ArrayFile(path) if path.suffix == ".npy" else MapFile(path)

    def _depth_size(self, depth: Raster) -> tuple[int, int]:
        if isinstance(depth, ArrayFile):
            height, width = depth.shape()[:2]
            return height, width
        return picture_size(Path(depth.describe()))

    def _file(self, file: Any) -> Path:
        if not isinstance(file, str):
            raise InputError(f"{self.path}: names {shown(file)} as a file, expected text; export the capture again.")
        for suffix in SUFFIXES:
            path = self.folder / (file + suffix)
            with contextlib.suppress(OSError, ValueError):  # a name too long for the file system
                if path.is_file():
                    return path
        raise InputError(f"{self.folder / file}: {FILE} refers to this file but it is missing; copy it again.")

    def _cloud_path(self) -> Path | None:
        stated = self.data.get("ply_file_path")
        return None if not stated else self._file(stated)

    def _nothing_in_3d(self) -> str:
        return (
            f"{self.path}: has neither 'depth_file_path' nor 'ply_file_path'; export the capture with depth: labels "
            "are carried to points through it."
        )


def recognises(path: Path) -> bool:
    """Return whether a folder is a capture or contains captures."""
    return path.is_dir() and next(_folders(path), None) is not None


def _folders(path: Path) -> Iterator[Path]:
    if (path / FILE).is_file():
        yield path
        return
    children = {child.name: child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")}
    yield from (children[name] for name in natural_order(children) if (children[name] / FILE).is_file())


def open_nerfstudio(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open a capture or a folder of captures."""
    sources = _sources(path, root, options)
    return OpenedDataset(sources, notes=_notes(sources))


def _sources(path: Path, root: Path | None, options: ReadOptions) -> tuple[NerfstudioSource, ...]:
    if root is not None:
        raise InputError(f"--root {root} is for a description file, but {path} is itself a capture; leave it out.")
    if options.split is not None:
        raise InputError(f"{path}: a capture has no splits; leave '{options.split}' out.")
    how = (options.stride(), options.limit, options.cache_dir)
    sources = tuple(NerfstudioSource(folder.resolve().name, folder, *how) for folder in _folders(path))
    if not sources:
        raise InputError(f"{path}: has no {FILE}, nor has a folder in it.")
    return sources


def _notes(sources: tuple[NerfstudioSource, ...]) -> tuple[str, ...]:
    """Return the notes of all captures that can be read; errors of the others are reported by `faults`."""
    found: list[str] = []
    for source in sources:
        with contextlib.suppress(InputError):
            found += source.notes()
    return tuple(found)


def survey_nerfstudio(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Check every file that the captures refer to; count captures and images."""
    sources = _sources(path, root, options)
    problems: list[str] = []
    frames = 0
    for source, found in checked_sources(sources, progress):
        problems += found
        frames += 0 if found else source.frame_count()
    notes = (*_notes(sources), *calibration_notes(calibrations_of(sources)))
    counts = (Count("captures", len(sources)), Count("images", frames))
    return Survey("nerfstudio", counts, tuple(problems), notes, frames)


NERFSTUDIO = Layout("nerfstudio", recognises, open_nerfstudio, survey_nerfstudio)
