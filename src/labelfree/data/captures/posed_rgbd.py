"""Read posed RGB-D folders: images, depth maps and poses of one scene, in the default or a described layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.calibrations import DEPTH_INTRINSICS, Calibration, StatedIntrinsics, disagreement, readings_of
from labelfree.data.captures.matching import FrameFiles, MatchedFrames, look_at_parts, match_frames
from labelfree.data.description import Description, Pinhole
from labelfree.data.fusion import FusionOptions, fuse_cached
from labelfree.data.integrity import ASPECT_TOLERANCE, file_faults
from labelfree.data.patterns import Pattern
from labelfree.data.point_cloud import PointCloud
from labelfree.data.point_files import check_points, existing_point_file, read_points
from labelfree.data.poses import pinhole, read_intrinsics, scaled_intrinsics
from labelfree.errors import InputError
from labelfree.files.decoding import picture_size
from labelfree.raster import ImageFile, MapFile
from labelfree.scene import Frame, Scene

USUAL_INTRINSICS = (
    *("intrinsic.txt", "intrinsics.txt", "K.txt", "camera_intrinsics.txt", "camera-intrinsics.txt"),
    *DEPTH_INTRINSICS,
)
"""Other files of a capture that are compared with the intrinsics in use."""


@dataclass(frozen=True)
class CaptureSource:
    """One capture on disk and its layout; files are read only on request."""

    name: str
    folder: Path
    shared: Path
    """Folder that is searched second, for files that scenes share: intrinsics and class names."""
    description: Description
    every: int = 1
    """Take every n-th frame."""
    limit: int | None = None
    """Take at most this many frames."""
    cache_dir: Path | None = None
    """Folder in which a fused cloud is kept."""

    def match(self) -> MatchedFrames:
        """Return the files of each frame; raises an `InputError` if one is missing or a pose cannot be read."""
        matched = match_frames(self.folder, self.description)
        return MatchedFrames(matched.frames[:: self.every][: self.limit], matched.notes)

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        """Return what is missing, empty or truncated, and why files cannot be matched; images are not decoded."""
        found: list[str] = []
        try:
            end = None if self.limit is None else self.limit * self.every
            faults, files = look_at_parts(self.folder, self.description, slice(0, end, self.every))
            found += [*faults, *file_faults(files, thorough)]
            frames = () if found else self.frames()
            path = self.cloud_path()
            if path is not None:
                check_points(path)
            elif frames and all(frame.depth is None for frame in frames):
                found.append(self.no_cloud())
        except InputError as error:
            found.append(str(error))
        return tuple(found)

    def frames(self, matched: MatchedFrames | None = None) -> tuple[Frame, ...]:
        """Return the frames, from files already matched if given; only the header of the first image is read."""
        files = (matched or self.match()).frames
        size = picture_size(files[0].depth or files[0].image)
        stated = self.description.intrinsics
        one_each = isinstance(stated, str) and Pattern(stated).has_wildcard
        shared = None if one_each else self._intrinsics("", size)
        return tuple(
            self._frame(frame, self._intrinsics(frame.name, size) if shared is None else shared, size)
            for frame in files
        )

    def calibration(self) -> Calibration:
        """Return the source of the intrinsics, compared with other files that usually contain intrinsics."""
        images = Pattern(self.description.images).find(self.folder)
        depths = Pattern(self.description.depth).find(self.folder) if self.description.depth else {}
        if not images:
            raise InputError(f"{self.folder}: no image matches '{self.description.images}'.")
        name = next(iter(images))
        shown = picture_size(images[name])
        grid = picture_size(next(iter(depths.values()))) if depths else shown
        stated = self.description.intrinsics
        path = self.near(Pattern(stated).fill(name)) if isinstance(stated, str) else None
        where = "the description's intrinsics" if path is None else str(path)
        own = self.description.intrinsics_size
        scaled = "" if own is None else f", scaled from {own[1]}x{own[0]}"
        used = StatedIntrinsics(where, self._intrinsics(name, grid))
        places = dict.fromkeys(folder / file for folder in (self.folder, self.shared) for file in USUAL_INTRINSICS)
        sizes = [size for size in (grid, own, shown) if size is not None]
        others = [readings_of(other, sizes, grid) for other in places if other != path and other.is_file()]
        found = tuple(text for readings in others if (text := disagreement(used, readings)) is not None)
        return Calibration(where + scaled, f"{stated if isinstance(stated, str) else where}{scaled}", found)

    def cloud_path(self) -> Path | None:
        """Return the point cloud's file; None if the cloud is fused from depth maps."""
        path = self.folder / self.description.cloud if self.description.cloud else None
        if path is None or "cloud" in self.description.stated:
            return path
        path = existing_point_file(path)
        return path if path.is_file() else None

    def build(self) -> Scene:
        """Return the scene; its cloud is read or, without a file, fused from the depth maps.

        Raises an `InputError` if there is neither a cloud nor a depth map.
        """
        frames = self.frames()
        path = self.cloud_path()
        if path is not None:
            cloud = read_points(path)
        elif any(frame.depth is not None for frame in frames):
            options = FusionOptions(self.description.voxel_m, self.description.max_depth_m)
            fused = fuse_cached(frames, options, self.cache_dir)
            cloud = PointCloud(fused.points_world, fused.colours, None, fused.labels)
        else:
            raise InputError(self.no_cloud())
        return Scene(self.name, cloud.points, frames, cloud.colours, cloud.intensity, cloud.labels)

    def no_cloud(self) -> str:
        """Return the error message for a capture without 3D data."""
        return f"{self.folder}: neither a point cloud ('{self.description.cloud}') nor depth maps; a scene needs one."

    def _frame(self, files: FrameFiles, intrinsics: NDArray[np.float64], size: tuple[int, int]) -> Frame:
        try:
            world_to_camera = self.description.convention.decode(files.pose.matrix)
            return Frame(
                files.name,
                ImageFile(files.image),
                intrinsics,
                world_to_camera,
                size,
                None if files.depth is None else MapFile(files.depth),
                self.description.depth_scale,
                None if files.labels is None else MapFile(files.labels),
            )
        except InputError as error:
            raise InputError(f"{files.pose.where}: {error}") from error

    def _intrinsics(self, name: str, size: tuple[int, int]) -> NDArray[np.float64]:
        stated = self.description.intrinsics
        if isinstance(stated, Pinhole):
            matrix = pinhole(stated.fx, stated.fy, stated.cx, stated.cy)
        else:
            matrix = read_intrinsics(self.near(Pattern(stated).fill(name)))
        own = self.description.intrinsics_size
        if own is None:
            return matrix
        if abs(own[1] * size[0] / (own[0] * size[1]) - 1) > ASPECT_TOLERANCE:
            raise InputError(
                f"intrinsics_size {list(own)} (height, width) has another shape than the images of "
                f"{list(size)}; give the size of the image that the intrinsics belong to."
            )
        return scaled_intrinsics(matrix, own, size)

    def near(self, file: str) -> Path:
        """Return the file in the scene's folder, or in the shared folder if only that one has it."""
        own = self.folder / file
        return own if own.is_file() or not (self.shared / file).is_file() else self.shared / file
