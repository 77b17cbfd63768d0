"""`Frame` and `Scene`: what every dataset becomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.names import require_safe_name
from labelfree.raster import Raster, as_map, as_raster, resize_image, resize_nearest

ROTATION_TOLERANCE = 1e-2
"""Largest entry of |R R^T - 1| that still counts as a rotation."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One posed image.

    Pixel (column u, row v) has its centre at (u + 0.5, v + 0.5); camera axes are x right, y down, z forward.
    """

    name: str
    """Unique within its scene; names the files written for this frame."""
    image: Raster
    """Colours; resized to `size` when loaded. A path or a uint8 [H, W, 3] array may be given."""
    intrinsics: NDArray[np.float64]
    """[3, 3] pinhole matrix in pixels of a picture of `size`."""
    world_to_camera: NDArray[np.float64]
    """[4, 4] rigid transform, metres."""
    size: tuple[int, int]
    """(height, width) of the grid that `intrinsics` speak of."""
    depth: Raster | None = None
    """z-depth in units of 1 / `depth_scale` metres, 0 where missing; resized to `size` when loaded."""
    depth_scale: float = 1000.0
    """Stored depth units per metre: 1000 for millimetres."""
    labels: Raster | None = None
    """uint8 [H', W'] at the labels' own resolution, 255 = ignored; for evaluation only."""
    scene: str = ""
    """Name of the scene it belongs to, which the scene fills in; frames of different scenes may share their names."""

    def __post_init__(self) -> None:
        require_safe_name(self.name, "The name of a frame")
        object.__setattr__(self, "image", as_raster(self.image))
        for field in ("depth", "labels"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, as_map(getattr(self, field)))
        object.__setattr__(self, "intrinsics", np.asarray(self.intrinsics, dtype=np.float64))
        object.__setattr__(self, "world_to_camera", np.asarray(self.world_to_camera, dtype=np.float64))
        if min(self.size) < 1:
            raise InputError(f"Frame '{self.name}': size {self.size} is not a positive (height, width).")
        _check_intrinsics(self.name, self.intrinsics)
        _check_rigid(self.name, self.world_to_camera)
        if not self.depth_scale > 0:
            raise InputError(
                f"Frame '{self.name}': depth_scale {self.depth_scale} must be positive (1000 for millimetres)."
            )

    @property
    def camera_to_world(self) -> NDArray[np.float64]:
        """[4, 4] inverse of `world_to_camera`."""
        return np.asarray(np.linalg.inv(self.world_to_camera), dtype=np.float64)

    def load_image(self) -> NDArray[np.uint8]:
        """Return the colours, uint8 [H, W, 3] at `size`."""
        image = self.image.load()
        if image.ndim == 2:
            image = np.repeat(image[:, :, None], 3, axis=2)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"{self.image.describe()}: expected 8-bit colours [H, W, 3], found {image.dtype} {image.shape}."
            )
        return resize_image(image, self.size)

    def load_depth_m(self) -> NDArray[np.float32] | None:
        """Return z-depth in metres, float32 [H, W] at `size`, 0 where missing; None without depth."""
        if self.depth is None:
            return None
        raw = self.depth.load()
        if raw.ndim != 2:
            raise InputError(f"{self.depth.describe()}: expected a depth map [H, W], found shape {raw.shape}.")
        depth_m = raw.astype(np.float32) / np.float32(self.depth_scale)
        depth_m[~np.isfinite(depth_m) | (depth_m < 0)] = 0.0
        return resize_nearest(depth_m, self.size)

    def load_labels(self) -> NDArray[np.uint8] | None:
        """Return ground truth at its own resolution, uint8 [H', W']; None without labels."""
        if self.labels is None:
            return None
        labels = self.labels.load()
        if labels.ndim != 2 or labels.dtype.kind not in "biu" or labels.min() < 0 or labels.max() > 255:
            raise InputError(
                f"{self.labels.describe()}: expected class ids 0..255 [H, W], found {labels.dtype} {labels.shape}."
            )
        return labels.astype(np.uint8)

    def resized(self, size: tuple[int, int]) -> Frame:
        """Return the frame on a grid of another (height, width): intrinsics scaled, pictures resized when loaded."""
        scale = np.diag([size[1] / self.size[1], size[0] / self.size[0], 1.0])
        return replace(self, size=size, intrinsics=scale @ self.intrinsics)


@dataclass(frozen=True, eq=False)
class Scene:
    """A point cloud and the posed images that see it."""

    name: str
    points_world: NDArray[np.float32]
    """[N, 3] metres."""
    frames: tuple[Frame, ...]
    colours: NDArray[np.uint8] | None = None
    """[N, 3] RGB."""
    intensity: NDArray[np.float32] | None = None
    """[N] LiDAR return strength."""
    labels: NDArray[np.uint8] | None = None
    """[N] ground truth, 255 = ignored; for evaluation only."""
    images_only: bool = False
    """Pictures without a cloud, as nuImages': a 2D network is measured on them, nothing is trained."""

    def __post_init__(self) -> None:
        require_safe_name(self.name, "The name of a scene")
        object.__setattr__(self, "frames", tuple(replace(frame, scene=self.name) for frame in self.frames))
        points = np.asarray(self.points_world, dtype=np.float32)
        object.__setattr__(self, "points_world", points)
        if points.ndim != 2 or points.shape[1] != 3:
            raise InputError(f"Scene '{self.name}': points_world must be [N, 3], found {points.shape}.")
        if not len(points) and not self.images_only:
            raise InputError(f"Scene '{self.name}' has no points: check its point cloud file or its depth maps.")
        bad = ~np.isfinite(points).all(axis=1)
        if bad.any():
            raise InputError(
                f"Scene '{self.name}': point {int(bad.argmax())} is {points[bad.argmax()].tolist()} "
                f"({int(bad.sum())} of {len(points)} points are not finite); remove these points."
            )
        self._check_column("colours", (len(points), 3), np.uint8)
        self._check_column("intensity", (len(points),), np.float32)
        self._check_column("labels", (len(points),), np.uint8)
        names = [frame.name for frame in self.frames]
        if len(set(names)) != len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"Scene '{self.name}': frame name '{repeated}' stands more than once; make frame names unique."
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

    def up_world(self) -> NDArray[np.float64]:  # [3]
        """Return the world axis that points up, judged by how the cameras were held; z without cameras."""
        if not self.frames:
            return np.array([0.0, 0.0, 1.0])
        mean = np.mean([-frame.world_to_camera[1, :3] for frame in self.frames], axis=0)
        axis = int(np.abs(mean).argmax())
        return np.eye(3)[axis] * (1.0 if mean[axis] >= 0 else -1.0)

    def upright_points(self) -> NDArray[np.float32]:  # [N, 3]
        """Return the points centred and turned so that z is up, as the 3D network sees them."""
        up = self.up_world()
        forward = np.roll(np.abs(up), 1)
        turn = np.stack([forward, np.cross(up, forward), up])
        centred = self.points_world - self.points_world.mean(axis=0, dtype=np.float64)
        return (centred @ turn.T).astype(np.float32)

    def resized(self, size: tuple[int, int]) -> Scene:
        """Return the scene with every frame on a grid of (height, width)."""
        return replace(self, frames=tuple(frame.resized(size) for frame in self.frames))


def _check_intrinsics(name: str, intrinsics: NDArray[np.float64]) -> None:
    if intrinsics.shape != (3, 3):
        raise InputError(f"Frame '{name}': intrinsics must be [3, 3], found {list(intrinsics.shape)}.")
    focal = (float(intrinsics[0, 0]), float(intrinsics[1, 1]))
    if not np.isfinite(intrinsics).all() or min(focal) <= 0:
        raise InputError(
            f"Frame '{name}': focal lengths {focal} must be positive and finite; check the intrinsics file."
        )
    if not np.allclose(intrinsics[2], (0, 0, 1)):
        raise InputError(f"Frame '{name}': the last row of the intrinsics is {intrinsics[2].tolist()}, expected 0 0 1.")


def _check_rigid(name: str, transform: NDArray[np.float64]) -> None:
    if transform.shape != (4, 4):
        raise InputError(f"Frame '{name}': world_to_camera must be [4, 4], found {list(transform.shape)}.")
    if not np.isfinite(transform).all():
        raise InputError(
            f"Frame '{name}': its pose holds {transform[~np.isfinite(transform)][0]}; drop the frame or mend it."
        )
    rotation = transform[:3, :3]
    misfit = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if misfit > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise InputError(
            f"Frame '{name}': the rotation of its pose is off by {misfit:.3g} (determinant "
            f"{np.linalg.det(rotation):.3g}); check that poses are 4x4 row-major rigid transforms."
        )
