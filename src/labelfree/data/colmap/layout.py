"""Read COLMAP models with images; depth maps and points are COLMAP's dense results, else its sparse points."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.calibrations import Calibration, calibration_notes
from labelfree.data.colmap.depth_maps import FIX, ColmapDepthFile
from labelfree.data.colmap.models import (
    UNDISTORT,
    ColmapCamera,
    ColmapImage,
    part_of,
    read_cameras,
    read_images,
    read_points,
)
from labelfree.data.colmap.workspace import (
    DEPTH_MAPS,
    LAYOUT,
    ColmapDescription,
    Workspace,
    described_workspace,
    find_workspaces,
    read_workspace_description,
)
from labelfree.data.fusion import FusionOptions, fuse_cached
from labelfree.data.integrity import ASPECT_TOLERANCE, check_image, check_ply
from labelfree.data.layout import Count, Layout, OpenedDataset, ReadOptions, Survey, SurveyProgress
from labelfree.data.lidar_rig.description import says_layout
from labelfree.data.nerfstudio.layout import SMALL_DISTORTION
from labelfree.data.patterns import natural_order
from labelfree.data.ply import PlyCloud, read_ply
from labelfree.data.poses import scaled_intrinsics
from labelfree.data.sources import calibrations_of, checked_sources
from labelfree.errors import InputError
from labelfree.files.decoding import picture_size
from labelfree.raster import ImageFile
from labelfree.scene import Frame, Scene

DEPTH_ENDINGS = (".geometric.bin", ".photometric.bin")
"""Depth maps of an image, the preferred one first."""
PLAUSIBLE_M = (0.15, 30.0)
"""Range of the median depth of a reconstruction in metres, as for captures; beyond it the scale is wrong."""
PROBED_MAPS = 5
"""Number of depth maps from which the median depth is computed."""
CENTRAL = (5, 95)
"""Percentiles between which the extent of a model is stated; single points of a sparse model lie far away."""


@dataclass(frozen=True)
class ColmapSource:
    """One reconstruction on disk; the model is read on first access."""

    name: str
    workspace: Workspace
    description: ColmapDescription = field(default_factory=ColmapDescription)
    every: int = 1
    """Take every n-th frame."""
    limit: int | None = None
    """Take at most this many frames."""
    cache_dir: Path | None = None
    """Folder in which a fused cloud is kept."""

    @cached_property
    def cameras(self) -> dict[int, ColmapCamera]:
        """Return the cameras by id."""
        return read_cameras(self.workspace.model)

    @cached_property
    def images(self) -> dict[str, ColmapImage]:
        """Return the selected images by frame name; where there are depth maps, only images that have one."""
        if not self.workspace.images.is_dir():
            raise InputError(
                f"{self.workspace.images}: the model's images are missing; copy them here, or name their folder with "
                "key 'images' of a description (docs/inputs.md)."
            )
        named = self.registered
        if self.has_depth:
            named = {name: image for name, image in named.items() if self._depth(image) is not None}
        chosen = list(named)[:: self.every][: self.limit]
        return {name: named[name] for name in chosen}

    @cached_property
    def has_depth(self) -> bool:
        """Return whether any image has a dense depth map."""
        return self.workspace.depth_maps.is_dir() and any(map(self._depth, self.registered.values()))

    @cached_property
    def registered(self) -> dict[str, ColmapImage]:
        """Return all images of the model by unique frame name: the file's stem, else its path."""
        found = {image.name: image for image in read_images(self.workspace.model)}
        for named in (lambda name: Path(name).stem, lambda name: str(Path(name).with_suffix("")), str):
            names = {named(name).replace("/", "-"): image for name, image in found.items()}
            if len(names) == len(found):
                return {name: names[name] for name in natural_order(names)}
        raise InputError(f"{part_of(self.workspace.model, 'images')}: two images have one name; rename one of them.")

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return which files are missing or damaged and which frames cannot be read, one sentence each."""
        try:
            cameras, images = self.cameras, self.images
        except InputError as error:
            return (str(error),)
        found = [fault for image in images.values() for fault in self._image_faults(image, thorough)]
        found += [self._no_camera(number) for number in {image.camera for image in images.values()} - set(cameras)]
        try:
            for name in () if found else images:
                self._frame(name)
            if self.has_depth and not found:
                self._require_plausible_scale()
            if self.workspace.cloud is not None:
                check_ply(self.workspace.cloud)
                read_ply(self.workspace.cloud)
            elif not self.has_depth:
                self._sparse_cloud()
        except InputError as error:
            found.append(str(error))
        return tuple(found)

    def _image_faults(self, image: ColmapImage, thorough: bool) -> Iterator[str]:
        depth = self._depth(image)
        try:
            check_image(self.workspace.images / image.name, thorough)
            if depth is not None:
                depth.check(thorough)
        except InputError as error:
            yield str(error)

    def _require_plausible_scale(self) -> None:
        """Raise an `InputError` if the depth maps would be those of a doll's house or of a landscape."""
        depths = [depth for image in self.images.values() if (depth := self._depth(image)) is not None]
        values = np.concatenate([depth.load().ravel() for depth in depths[:: max(1, len(depths) // PROBED_MAPS)]])
        values = values[np.isfinite(values) & (values > 0)]
        if not len(values):
            raise InputError(f"{depths[0].path}: neither it nor another depth map has a value above 0; {FIX}.")
        units = float(np.median(values))
        if not PLAUSIBLE_M[0] <= units * self.description.scale <= PLAUSIBLE_M[1]:
            raise InputError(
                f"{self.workspace.depth_maps}: the median depth is {units:.3g} units, which are "
                f"{units * self.description.scale:.3g} m with metres_per_unit {self.description.scale:g}; state "
                "metres_per_unit in a description (docs/inputs.md)."
            )

    def calibration(self) -> Calibration:
        """Return the file of the cameras and their models."""
        models = sorted({camera.model for camera in self.cameras.values()})
        kind = f"{len(self.cameras)} camera(s), {', '.join(models)}"
        path = part_of(self.workspace.model, "cameras")
        return Calibration(f"{path}: {kind}", f"{path.name}: {kind}")

    def notes(self) -> tuple[str, ...]:
        """Return notes on the model that is read, its scale, lens distortion and missing depth maps."""
        return tuple(self._told())

    def _told(self) -> Iterator[str]:
        model, images = self.workspace.model, self.images
        if self.workspace.other_models:
            yield (
                f"{model} is read, {self.workspace.other_models} other model(s) beside it are not: name one with key "
                "'model' of a description"
            )
        worst = max((camera.distortion for camera in self.cameras.values()), default=0.0)
        if worst > 0:
            small = worst <= SMALL_DISTORTION
            what = "small enough to be ignored" if small else f"ignored: {UNDISTORT}"
            yield f"{part_of(model, 'cameras')}: lens distortion of up to {worst:g} is {what}"
        if self.description.metres_per_unit is None:
            points = read_points(model).points
            low, high = np.percentile(points, CENTRAL, axis=0) if len(points) else np.zeros((2, 3))
            span = " x ".join(f"{side:.3g}" for side in high - low)
            yield (
                f"{model}: a COLMAP model has no metric scale; 1 unit is taken as 1 m, which makes it {span} m; state "
                "metres_per_unit in a description if that is wrong (docs/inputs.md)"
            )
        if self.has_depth:
            lost = sum(self._depth(image) is None for image in self.registered.values())
            if lost:
                yield f"{self.workspace.depth_maps}: {lost} images have no depth map and are left out"
        elif images and self.workspace.cloud is None:
            yield (
                f"{self.workspace.base}: has neither {DEPTH_MAPS} nor fused.ply, so the scene has the sparse points "
                "of the model, and each is paired with every image that it falls into, even behind a wall"
            )

    def build(self) -> Scene:
        """Return the scene. Its points are the fused cloud, else fused depth maps, else the sparse points.

        Raises an `InputError` if a file is missing or damaged, or there are no points.
        """
        frames = tuple(self._frame(name) for name in self.images)
        if self.workspace.cloud is not None:
            cloud = self._in_metres(read_ply(self.workspace.cloud))
        elif self.has_depth:
            options = FusionOptions(self.description.voxel_m, self.description.max_depth_m)
            fused = fuse_cached(frames, options, self.cache_dir)
            cloud = PlyCloud(fused.points_world, fused.colours, None, None)
        else:
            cloud = self._in_metres(self._sparse_cloud())
        z_up = self.description.up is not None
        return Scene(self.name, cloud.points, frames, cloud.colours, cloud.intensity, cloud.labels, z_up=z_up)

    def _sparse_cloud(self) -> PlyCloud:
        sparse = read_points(self.workspace.model)
        if not len(sparse.points):
            path = part_of(self.workspace.model, "points3D")
            raise InputError(f"{path}: holds no points, and there is neither {DEPTH_MAPS} nor fused.ply; add one.")
        return PlyCloud(sparse.points, sparse.colours, None, None)

    def _in_metres(self, cloud: PlyCloud) -> PlyCloud:
        if self.description.scale == 1 and self.description.up is None:
            return cloud
        points = cloud.points.astype(np.float64) @ self.description.turn().T * self.description.scale
        return PlyCloud(points.astype(cloud.points.dtype), cloud.colours, cloud.intensity, cloud.labels)

    def frame_count(self) -> int:
        """Return the number of selected frames."""
        return len(self.images)

    def _frame(self, name: str) -> Frame:
        image = self.images[name]
        if image.camera not in self.cameras:
            raise InputError(self._no_camera(image.camera))
        path, depth = self.workspace.images / image.name, self._depth(image)
        camera, own = self.cameras[image.camera], picture_size(path)
        if abs(camera.size[1] * own[0] / (camera.size[0] * own[1]) - 1) > ASPECT_TOLERANCE:
            raise InputError(
                f"{path}: has {own[1]}x{own[0]} pixels, but its camera has {camera.size[1]}x{camera.size[0]}, another "
                "shape; give the images from which the model was made."
            )
        size = own if depth is None else depth.size()
        intrinsics = scaled_intrinsics(camera.intrinsics, camera.size, size)
        try:
            pose, per_metre = self._pose(image), 1 / self.description.scale
            return Frame(name, ImageFile(path), intrinsics, pose, size, depth, per_metre)
        except InputError as error:
            raise InputError(f"{self.workspace.model}: {error}") from error

    def _pose(self, image: ColmapImage) -> NDArray[np.float64]:  # [4, 4] metres
        pose = image.world_to_camera.copy()
        pose[:3, :3] = pose[:3, :3] @ self.description.turn().T
        pose[:3, 3] *= self.description.scale
        return pose

    def _depth(self, image: ColmapImage) -> ColmapDepthFile | None:
        paths = (self.workspace.depth_maps / f"{image.name}{ending}" for ending in DEPTH_ENDINGS)
        return next((ColmapDepthFile(path) for path in paths if path.is_file()), None)

    def _no_camera(self, number: int) -> str:
        return (
            f"{part_of(self.workspace.model, 'cameras')}: has no camera {number}, to which an image belongs; write the "
            "model again."
        )


def recognises(path: Path) -> bool:
    """Return whether a path is a workspace with a model, a folder of workspaces, or a description of one."""
    return says_layout(path, LAYOUT) or (path.is_dir() and next(find_workspaces(path), None) is not None)


def open_colmap(path: Path, root: Path | None, options: ReadOptions) -> OpenedDataset:
    """Open a workspace, a folder of workspaces or a description."""
    sources = _sources(path, root, options)
    return OpenedDataset(sources, notes=_notes(sources))


def _sources(path: Path, root: Path | None, options: ReadOptions) -> tuple[ColmapSource, ...]:
    if options.split is not None:
        raise InputError(f"{path}: a COLMAP model has no splits; leave '{options.split}' out.")
    if path.is_file():
        description = read_workspace_description(path)
        base = root or path.parent / (description.root or ".")
        if not base.is_dir():
            raise InputError(f"{base}: the workspace's folder does not exist; give it with --root DIR.")
        named = [(base.resolve().name, described_workspace(base, description))]
    else:
        if root is not None:
            raise InputError(f"--root {root} is for a description file, but {path} is a folder; leave it out.")
        description, named = ColmapDescription(), list(find_workspaces(path)) if path.is_dir() else []
    if not named:
        raise InputError(f"{path}: has no COLMAP model (cameras and images, .bin or .txt), nor has a folder in it.")
    how = (description, options.stride(description.every), options.limit, options.cache_dir)
    return tuple(ColmapSource(name, workspace, *how) for name, workspace in named)


def _notes(sources: tuple[ColmapSource, ...]) -> tuple[str, ...]:
    """Return the notes of all models that can be read; errors of the others are reported by `faults`."""
    found: list[str] = []
    for source in sources:
        with contextlib.suppress(InputError):
            found += source.notes()
    return tuple(found)


def survey_colmap(path: Path, root: Path | None, options: ReadOptions, progress: SurveyProgress) -> Survey:
    """Check every file of the models; count models and images."""
    sources = _sources(path, root, options)
    problems, frames = list[str](), 0
    for source, found in checked_sources(sources, progress):
        problems += found
        frames += 0 if found else source.frame_count()
    notes = (*_notes(sources), *calibration_notes(calibrations_of(sources)))
    counts = (Count("models", len(sources)), Count("images", frames))
    return Survey(LAYOUT, counts, tuple(problems), notes, frames)


COLMAP = Layout(LAYOUT, recognises, open_colmap, survey_colmap)
