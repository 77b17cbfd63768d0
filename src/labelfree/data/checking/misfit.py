"""Measure how well points agree with depth maps, under the stated and other readings of poses and units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfree.data.poses import CameraAxes, PoseConvention, PoseIs
from labelfree.method.pairing import DEPTH_TOLERANCE_M, project
from labelfree.scene import Frame

HIDDEN_M = 0.5
"""Distance behind the surface beyond which a point is hidden; the misfit is measured over nearer points."""
RELATIVE_TOLERANCE = 0.05
"""Tolerance, as a share of the depth, for comparing readings of different scale."""
POINTS_PER_FRAME = 1000
CLOUD_POINTS = 100_000
_SATURATED = 65535
_PARTNER_ANGLE_DEG = 10.0
_PARTNER_DISTANCE_M = 0.3
SCENE_DEPTH_M = (0.15, 30.0)
"""Plausible range of the median depth of a capture."""
_DEPTH_SCALES = (1.0, 256.0, 1000.0, 4000.0, 5000.0, 6553.5)
_INTRINSICS_SCALES = (2 / 3, 3 / 4, 4 / 5, 5 / 4, 4 / 3, 3 / 2)
"""Image sizes whose intrinsics still look plausible; other sizes are found by their principal point."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A frame whose depth map is compared with the points of other frames and which contributes points to them."""

    frame: Frame
    depth_m: Tensor | None  # [H, W] float64
    pixels: NDArray[np.float64]  # [n, 3] (u, v, 1) of a sample
    depths: NDArray[np.float64]  # [n]
    judged: bool = True
    """Whether the frame itself is measured; otherwise it only contributes points."""


class Subject(StrEnum):
    """Parts of a capture that can be misread."""

    POSES = "poses"
    DEPTH = "depth"
    INTRINSICS = "intrinsics"


@dataclass(frozen=True)
class Reading:
    """One interpretation of the numbers of a capture."""

    convention: PoseConvention
    depth_factor: float = 1.0
    pose_unit_m: float = 1.0
    """Metres per unit of the poses' translations."""
    intrinsics_scale: tuple[float, float] = (1.0, 1.0)
    """Factors on the first and second row of the intrinsics."""
    about: Subject = Subject.POSES
    """The part that was misread if this reading is correct."""
    remedy: str = ""
    """The fix to report if this reading is correct."""


@dataclass(frozen=True)
class Agreement:
    """The agreement of the points in view of one frame with its depth map."""

    name: str
    in_view: int
    """Points inside the image that are not hidden behind its surface."""
    pairs: int = 0
    """Points within 5 cm of the surface."""
    near_relative: int = 0
    """Points within 5 % of the surface's depth."""
    misfit_cm: float | None = None
    """Median distance in centimetres over the points within half a metre."""

    @property
    def agree(self) -> float | None:
        """Return the share of the points in view that pair; None if no point is in view."""
        return self.pairs / self.in_view if self.in_view else None


def choose_probes(frames: Sequence[Frame], count: int | None, cloud_given: bool) -> list[Probe]:
    """Choose evenly spaced frames and, without a cloud, a neighbour of each that has another pose."""
    step = 1.0 if count is None else max(len(frames) / count, 1.0)
    chosen = sorted({int(index * step) for index in range(math.ceil(len(frames) / step))} & set(range(len(frames))))
    partners = set[int]()
    if not cloud_given:
        partners = {p for i in chosen if (p := _partner(frames, i)) is not None} - set(chosen)
    return [_probe(frames[index], index in chosen) for index in sorted({*chosen, *partners})]


def measure(
    probes: Sequence[Probe],
    cloud: Tensor | None,  # [N, 3] points_world; None: each frame is compared with the points of all others
    reading: Reading,
    stated: PoseConvention,
) -> list[Agreement]:
    """Return the agreement of every measured frame under a reading."""
    cameras = [_camera(probe.frame, reading, stated) for probe in probes]
    lent = [] if cloud is not None else [_lend(p, c, reading) for p, c in zip(probes, cameras)]
    found = []
    for index, (probe, (world_to_camera, intrinsics)) in enumerate(zip(probes, cameras)):
        if probe.judged:
            none = torch.empty(0, 3, dtype=torch.float64)
            points = cloud if cloud is not None else torch.cat([none, *lent[:index], *lent[index + 1 :]])
            uv, z = project(points, torch.from_numpy(world_to_camera), torch.from_numpy(intrinsics))
            found.append(_agreement(probe, uv, z, reading.depth_factor))
    return found


def overall(found: Sequence[Agreement]) -> float:
    """Return the share of all points in view that lie within 5 % of the depth in the depth map."""
    return sum(a.near_relative for a in found) / max(sum(a.in_view for a in found), 1)


def other_readings(probe: Probe, colour_size: tuple[int, int], stated: PoseConvention) -> list[Reading]:
    """Return readings for the usual mistakes: direction, axes or unit of poses, depth unit, size of intrinsics."""
    frame = probe.frame
    readings = _pose_readings(stated)
    median_m = float(np.median(probe.depths)) if len(probe.depths) else 0.0
    for scale in _DEPTH_SCALES:
        factor = frame.depth_scale / scale
        if factor != 1 and SCENE_DEPTH_M[0] <= median_m * factor <= SCENE_DEPTH_M[1]:
            remedy = f"depth looks like {scale:g} units per metre: set depth_scale: {scale:g}"
            readings.append(Reading(stated, depth_factor=factor, about=Subject.DEPTH, remedy=remedy))
    height, width = frame.size
    sizes = [colour_size, *((round(height * s), round(width * s)) for s in _INTRINSICS_SCALES)]
    for rows, columns in sizes:
        if (rows, columns) != frame.size:
            scale_by = (width / columns, height / rows)
            remedy = f"intrinsics look like those of a {columns}x{rows} image: set intrinsics_size: [{rows}, {columns}]"
            readings.append(Reading(stated, intrinsics_scale=scale_by, about=Subject.INTRINSICS, remedy=remedy))
    return readings


def _pose_readings(stated: PoseConvention) -> list[Reading]:
    readings = [Reading(stated, pose_unit_m=0.001, remedy="poses look like millimetres: write them in metres")]
    for pose_is in PoseIs:
        for axes in CameraAxes:
            changes = {"pose_is": str(pose_is)} if pose_is is not stated.pose_is else {}
            if axes is not stated.camera_axes:
                changes["camera_axes"] = str(axes)
            if changes:
                keys = " and ".join(f"{key}: {value}" for key, value in changes.items())
                remedy = f"poses look like {' in '.join(changes.values())}: set {keys}"
                readings.append(Reading(PoseConvention(pose_is, axes), remedy=remedy))
    return readings


def _partner(frames: Sequence[Frame], index: int) -> int | None:
    here = frames[index].world_to_camera
    for other in (*range(index + 1, len(frames)), *range(index - 1, -1, -1)):
        there = frames[other].world_to_camera
        cosine = (np.trace(here[:3, :3] @ there[:3, :3].T) - 1) / 2
        moved = float(np.linalg.norm(frames[index].camera_to_world[:3, 3] - frames[other].camera_to_world[:3, 3]))
        if cosine < math.cos(math.radians(_PARTNER_ANGLE_DEG)) or moved > _PARTNER_DISTANCE_M:
            return other
    return None


def _probe(frame: Frame, judged: bool) -> Probe:
    depth_m = frame.load_depth_m()
    if depth_m is None:
        return Probe(frame, None, np.empty((0, 3)), np.empty(0), judged)
    depth_m[depth_m >= np.float32(_SATURATED / frame.depth_scale)] = 0  # some sensors write this for missing depth
    rows, columns = np.nonzero(depth_m)
    if len(rows) > POINTS_PER_FRAME:
        sample = np.random.default_rng(0).choice(len(rows), POINTS_PER_FRAME, replace=False)
        rows, columns = rows[sample], columns[sample]
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    depths = depth_m[rows, columns].astype(np.float64)
    return Probe(frame, torch.from_numpy(depth_m).double(), pixels, depths, judged)


def _camera(
    frame: Frame, reading: Reading, stated: PoseConvention
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # [4, 4] world_to_camera, [3, 3]
    stored = stated.encode(frame.world_to_camera)
    stored[:3, 3] *= reading.pose_unit_m
    world_to_camera = reading.convention.decode(stored)
    return world_to_camera, np.diag([*reading.intrinsics_scale, 1.0]) @ frame.intrinsics


def _lend(probe: Probe, camera: tuple[NDArray[np.float64], NDArray[np.float64]], reading: Reading) -> Tensor:
    world_to_camera, intrinsics = camera
    rays = probe.pixels @ np.linalg.inv(intrinsics).T
    points = rays * (probe.depths * reading.depth_factor)[:, None]
    camera_to_world = np.linalg.inv(world_to_camera)
    return torch.from_numpy(points @ camera_to_world[:3, :3].T + camera_to_world[:3, 3])


def _agreement(
    probe: Probe,
    uv: Tensor,  # [n, 2]
    z: Tensor,  # [n]
    depth_factor: float,
) -> Agreement:
    height, width = probe.frame.size
    inside = (z > 0) & (uv >= 0).all(dim=1) & (uv[:, 0] < width) & (uv[:, 1] < height)
    if probe.depth_m is None:
        return Agreement(probe.frame.name, int(inside.sum()))
    pixels = uv[inside].floor().long()
    depth = probe.depth_m[pixels[:, 1], pixels[:, 0]] * depth_factor
    visible = (depth > 0) & (z[inside] <= depth + HIDDEN_M)
    gap, depth = (z[inside] - depth)[visible].abs(), depth[visible]
    near = gap[gap <= HIDDEN_M]
    return Agreement(
        probe.frame.name,
        int(visible.sum()),
        int((gap <= DEPTH_TOLERANCE_M).sum()),
        int((gap <= RELATIVE_TOLERANCE * depth).sum()),
        float(near.median()) * 100 if len(near) else None,
    )
