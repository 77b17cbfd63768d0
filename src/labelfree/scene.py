"""`Frame` and `Scene`, the value types that every dataset reader returns."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import DataWarning, InputError
from labelfree.files.names import require_safe_name
from labelfree.raster import Raster, as_map, as_raster, resize_image, resize_nearest

ROTATION_TOLERANCE = 1e-2
"""Largest entry of |R R^T - 1| that still counts as a rotation."""

LARGEST_PIXELS = 1e9
"""Focal lengths and centres beyond this are damage; products with them could overflow."""
LEAST_SCALE, LARGEST_SCALE = 1e-6, 1e12
"""Range of depth units per metre."""

FAR_M = 1000.0
"""Largest distance of a cloud's median from the world's origin, in metres and per axis; a farther cloud gets a local
origin. float32 resolves 0.1 mm up to this distance, but only 0.5 m at UTM northings."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One posed image, with depth map and ground truth if they exist.

    Pixel (column u, row v) has its centre at (u + 0.5, v + 0.5). Camera axes are x right, y down, z forward.
    Raises an InputError if the name is unsafe, the size is not positive, or intrinsics or pose are invalid.
    """

    name: str
    """Unique within its scene; names the files written for this frame."""
    image: Raster
    """Image, resized to `size` when loaded; given as a path or a uint8 [H, W, 3] array."""
    intrinsics: NDArray[np.float64]
    """[3, 3] pinhole matrix in pixels of an image of `size`."""
    world_to_camera: NDArray[np.float64]
    """[4, 4] rigid transform, metres."""
    size: tuple[int, int]
    """(height, width) in pixels to which `intrinsics` refer."""
    depth: Raster | None = None
    """z-depth in units of 1 / `depth_scale` metres, 0 where missing; resized to `size` when loaded."""
    depth_scale: float = 1000.0
    """Stored depth units per metre: 1000 for millimetres."""
    labels: Raster | None = None
    """Ground truth, uint8 [H', W'] at its own resolution, 255 = ignored; for evaluation only."""
    scene: str = ""
    """Name of its scene, set by the scene; frames of different scenes may have the same name."""

    def __post_init__(self) -> None:
        require_safe_name(self.name, "The name of a frame")
        object.__setattr__(self, "image", as_raster(self.image))
        for raster in ("depth", "labels"):
            if getattr(self, raster) is not None:
                object.__setattr__(self, raster, as_map(getattr(self, raster)))
        object.__setattr__(self, "intrinsics", np.asarray(self.intrinsics, dtype=np.float64))
        object.__setattr__(self, "world_to_camera", np.asarray(self.world_to_camera, dtype=np.float64))
        if min(self.size) < 1:
            raise InputError(f"Frame '{self.name}': size {self.size} is not a positive (height, width).")
        _check_intrinsics(self.name, self.intrinsics)
        _check_rigid(self.name, self.world_to_camera)
        if not LEAST_SCALE <= self.depth_scale <= LARGEST_SCALE:
            raise InputError(
                f"Frame '{self.name}': depth_scale is {self.depth_scale:g}, expected {LEAST_SCALE:g} to "
                f"{LARGEST_SCALE:g} units per metre (1000 for millimetres); correct it."
            )

    @property
    def camera_to_world(self) -> NDArray[np.float64]:
        """Return the [4, 4] inverse of `world_to_camera`, metres."""
        return np.asarray(np.linalg.inv(self.world_to_camera), dtype=np.float64)

    def load_image(self) -> NDArray[np.uint8]:
        """Return the image, uint8 [H, W, 3] at `size`. Raises an InputError if the file cannot be read as colours."""
        image = self.image.load()
        if image.ndim == 2:
            image = np.repeat(image[:, :, None], 3, axis=2)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"{self.image.describe()}: expected 8-bit colours [H, W, 3], found {image.dtype} {image.shape}."
            )
        return resize_image(image, self.size)

    def load_depth_m(self) -> NDArray[np.float32] | None:
        """Return z-depth in metres, float32 [H, W] at `size`, 0 where missing; None without depth.

        Raises an InputError if the file cannot be read or is no depth map.
        """
        if self.depth is None:
            return None
        raw = self.depth.load()
        if raw.ndim != 2:
            raise InputError(f"{self.depth.describe()}: expected a depth map [H, W], found shape {raw.shape}.")
        depth_m = raw.astype(np.float32) / np.float32(self.depth_scale)
        depth_m[~np.isfinite(depth_m) | (depth_m < 0)] = 0.0
        return resize_nearest(depth_m, self.size)

    def load_labels(self) -> NDArray[np.uint8] | None:
        """Return ground truth, uint8 [H', W'] at its own resolution, 255 = ignored; None without labels.

        Raises an InputError if the file cannot be read or holds values outside 0..255.
        """
        if self.labels is None:
            return None
        labels = self.labels.load()
        if labels.ndim != 2 or labels.dtype.kind not in "biu" or labels.min() < 0 or labels.max() > 255:
            raise InputError(
                f"{self.labels.describe()}: expected class ids 0..255 [H, W], found {labels.dtype} {labels.shape}."
            )
        return labels.astype(np.uint8)

    def around(self, origin_m: NDArray[np.float64]) -> Frame:  # [3]
        """Return the frame in a world whose origin is moved to `origin_m`, in metres."""
        pose = self.world_to_camera.copy()
        pose[:3, 3] += pose[:3, :3] @ origin_m
        return replace(self, world_to_camera=pose)

    def resized(self, size: tuple[int, int]) -> Frame:
        """Return the frame at another (height, width): intrinsics are scaled, image and depth resized when loaded."""
        scale = np.diag([size[1] / self.size[1], size[0] / self.size[0], 1.0])
        return replace(self, size=size, intrinsics=scale @ self.intrinsics)


class Sweeps(Protocol):
    """Earlier LiDAR sweeps of a key frame; their files are read on request."""

    def load(self, count: int) -> tuple[NDArray[np.float32], ...]:  # each [M, 4]
        """Return up to `count` sweeps: x y z in metres in the key frame's coordinates, and return strength."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A point cloud and the posed images that see it.

    Points may be given in any world coordinates. If they are far from zero, the scene moves points and poses to a local
    origin near the cloud. Points that are not finite are dropped, with a DataWarning.
    Raises an InputError if arrays do not fit together, no point is left, or two frames have one name.
    """

    name: str
    points_world: NDArray[np.float32]
    """[N, 3] metres, relative to `origin_m`."""
    frames: tuple[Frame, ...]
    """Frames that see the points; their poses are relative to `origin_m` too."""
    colours: NDArray[np.uint8] | None = None
    """[N, 3] RGB."""
    intensity: NDArray[np.float32] | None = None
    """[N] LiDAR return strength; values that are not finite become 0."""
    labels: NDArray[np.uint8] | None = None
    """[N] ground truth, 255 = ignored; for evaluation only."""
    images_only: bool = False
    """Whether there are images but no points, as in nuImages: for evaluation in 2D, not for training."""
    z_up: bool = False
    """Whether the dataset defines z as up, as ScanNet and nuScenes do; otherwise `up_world` estimates the axis."""
    origin_m: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """[3] metres, the local origin in the given world coordinates; chosen by the scene."""
    exact_points: NDArray[np.float64] | None = None
    """[N, 3] metres, the given coordinates if they were float64; kept for output files."""
    kept: NDArray[np.bool_] | None = None
    """[M] mask of the M given points that selects the N kept ones; None if all were kept."""
    sweeps: Sweeps | None = None
    """Earlier LiDAR sweeps, if the dataset has them; `train.sweeps` trains on them."""

    def __post_init__(self) -> None:
        require_safe_name(self.name, "The name of a scene")
        object.__setattr__(self, "frames", tuple(replace(frame, scene=self.name) for frame in self.frames))

        # Check the points
        given = np.asarray(self.points_world)
        given = given if given.dtype == np.float32 else given.astype(np.float64)
        if given.ndim != 2 or given.shape[1] != 3:
            raise InputError(f"Scene '{self.name}': points_world must be [N, 3], found {given.shape}.")
        if not len(given) and not self.images_only:
            raise InputError(f"Scene '{self.name}' has no points: check its point cloud file or its depth maps.")

        # Choose the origin, check the columns, drop points
        object.__setattr__(self, "points_world", given)
        if self.exact_points is None and not np.any(self.origin_m):
            self._settle(given)
        self._check_column("colours", (len(given), 3), np.uint8)
        self._check_column("intensity", (len(given),), np.float32)
        self._check_column("labels", (len(given),), np.uint8)
        self._check_column("exact_points", (len(given), 3), np.float64)
        self._drop(np.asarray(np.isfinite(self.points_world).all(axis=1), dtype=np.bool_))
        if self.intensity is not None:
            object.__setattr__(self, "intensity", np.nan_to_num(self.intensity, nan=0.0, posinf=0.0, neginf=0.0))

        # Check the frame names
        names = [frame.name for frame in self.frames]
        if len(set(names)) != len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"Scene '{self.name}': frame name '{repeated}' is used more than once; make frame names unique."
            )

    def _settle(self, given: NDArray[Any]) -> None:
        """Choose the local origin, move points and poses to it, and keep the float64 coordinates."""
        origin = local_origin(given)
        if origin.any():
            object.__setattr__(self, "origin_m", origin)
            object.__setattr__(self, "frames", tuple(frame.around(origin) for frame in self.frames))
        if given.dtype == np.float64:
            object.__setattr__(self, "exact_points", given)
        with np.errstate(over="ignore"):
            points = (given - origin if origin.any() else given).astype(np.float32)
        object.__setattr__(self, "points_world", points)

    def _drop(self, usable: NDArray[np.bool_]) -> None:  # [N]
        """Drop the points that are not usable from all columns, with a DataWarning."""
        if usable.all():
            return
        count = int(len(usable) - usable.sum())
        if count == len(usable):
            raise InputError(f"Scene '{self.name}': none of its {count:,} points is finite; export its cloud again.")
        for column in ("points_world", "colours", "intensity", "labels", "exact_points"):
            values = getattr(self, column)
            object.__setattr__(self, column, None if values is None else values[usable])
        object.__setattr__(self, "kept", usable)
        warnings.warn(
            f"scene '{self.name}': {count:,} of {len(usable):,} points are not finite and were dropped",
            DataWarning,
            stacklevel=2,
        )

    def _check_column(self, field: str, shape: tuple[int, ...], dtype: type[Any]) -> None:
        values = getattr(self, field)
        if values is None:
            return
        values = np.asarray(values)
        if values.shape != shape:
            raise InputError(
                f"Scene '{self.name}': {field} must be {list(shape)} like its points, found {list(values.shape)}."
            )
        object.__setattr__(self, field, values.astype(dtype))

    def __len__(self) -> int:
        return len(self.points_world)

    def output_points(self) -> NDArray[np.floating[Any]]:  # [N, 3]
        """Return the points in the given world coordinates, in metres; float64 if they were given so."""
        if self.exact_points is not None:
            return self.exact_points
        if not self.origin_m.any():
            return self.points_world
        return (self.points_world + self.origin_m).astype(np.float32)

    def up_world(self) -> NDArray[np.float64]:  # [3]
        """Return the unit world axis that points up: z if `z_up` is set or there are no frames.

        Otherwise it is the axis nearest to the mean up direction of the cameras, which may be wrong for cameras that
        look steeply down or up.
        """
        if self.z_up or not self.frames:
            return np.array([0.0, 0.0, 1.0])
        mean = np.mean([-frame.world_to_camera[1, :3] for frame in self.frames], axis=0)
        axis = int(np.abs(mean).argmax())
        return np.eye(3)[axis] * (1.0 if mean[axis] >= 0 else -1.0)

    def upright_points(self) -> NDArray[np.float32]:  # [N, 3]
        """Return the points in metres, centred and rotated so that z is up, as the 3D network reads them."""
        up = self.up_world()
        forward = np.roll(np.abs(up), 1)
        turn = np.stack([forward, np.cross(up, forward), up])
        centred = self.points_world - self.points_world.mean(axis=0, dtype=np.float64)
        return (centred @ turn.T).astype(np.float32)

    def resized(self, size: tuple[int, int]) -> Scene:
        """Return the scene with every frame at another (height, width)."""
        return replace(self, frames=tuple(frame.resized(size) for frame in self.frames))


def local_origin(points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:  # [N, 3] -> [3]
    """Return the local origin of a cloud in metres: zero, or the rounded median if that is farther than `FAR_M`."""
    if not len(points) or (points.min() >= -FAR_M and points.max() <= FAR_M):  # false for NaN
        return np.zeros(3)
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return np.zeros(3)
    middle = np.median(finite, axis=0).astype(np.float64)
    return np.rint(middle) if float(np.abs(middle).max()) > FAR_M else np.zeros(3)


def _check_intrinsics(name: str, intrinsics: NDArray[np.float64]) -> None:
    if intrinsics.shape != (3, 3):
        raise InputError(f"Frame '{name}': intrinsics must be [3, 3], found {list(intrinsics.shape)}.")
    focal = (float(intrinsics[0, 0]), float(intrinsics[1, 1]))
    if not np.isfinite(intrinsics).all() or min(focal) <= 0:
        raise InputError(
            f"Frame '{name}': focal lengths {focal} must be positive and finite; check the intrinsics file."
        )
    if np.abs(intrinsics).max() > LARGEST_PIXELS:
        raise InputError(
            f"Frame '{name}': intrinsics hold {np.abs(intrinsics).max():g}, expected at most {LARGEST_PIXELS:g} "
            "pixels; check the intrinsics file."
        )
    if not np.allclose(intrinsics[2], (0, 0, 1)):
        raise InputError(f"Frame '{name}': the last row of the intrinsics is {intrinsics[2].tolist()}, expected 0 0 1.")


def _check_rigid(name: str, transform: NDArray[np.float64]) -> None:
    if transform.shape != (4, 4):
        raise InputError(f"Frame '{name}': world_to_camera must be [4, 4], found {list(transform.shape)}.")
    if not np.isfinite(transform).all():
        raise InputError(
            f"Frame '{name}': its pose holds {transform[~np.isfinite(transform)][0]}; drop the frame or fix its pose."
        )
    rotation = transform[:3, :3]
    misfit = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if misfit > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise InputError(
            f"Frame '{name}': the rotation of its pose is off by {misfit:.3g} (determinant "
            f"{np.linalg.det(rotation):.3g}); check that poses are 4x4 row-major rigid transforms."
        )
