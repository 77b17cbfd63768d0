"""Segments of a scene from its cloud and the masks of its frames, cached by content."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from labelfree.config.labels import PairingConfig
from labelfree.data.pairs import pair_points
from labelfree.scene import Scene
from labelfree.segments.geometric import SegmentOptions, SurfaceGraph, surface_graph
from labelfree.segments.ground import divided_at_ground, ground_points, range_scaled
from labelfree.segments.mask_counts import NO_MASK
from labelfree.segments.view_segments import ViewMasks, ViewSegmentOptions, ViewSegments, view_segments
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.labelling import MaskMaker, Size

VOXEL_M, LIDAR_VOXEL_M = 0.05, 0.3
"""Side of the segments' voxels in metres: for clouds of depth maps and for turns of a LiDAR."""

RGBD = ViewSegmentOptions()
"""Options for clouds of depth maps, chosen on tuning rooms of both indoor worlds of the lab."""
LIDAR = ViewSegmentOptions(fine=SegmentOptions(k=0.02, least_voxels=2, voxel_m=LIDAR_VOXEL_M))
"""Options for turns of a LiDAR, chosen on three streets of tuning seed 900001."""
LIDAR_NEAR_M = 5.0
"""Range beyond which the voxels of a LiDAR's turn grow."""

METHOD = 1
"""Number of the method in the cache's key; it changes when the same inputs give other segments."""


def scene_graph(scene: Scene) -> SurfaceGraph:
    """Return the graph of a scene's voxels, of a size that suits its kind of cloud."""
    depth = any(frame.depth is not None for frame in scene.frames)
    return surface_graph(scene.points_world, scene.colours, VOXEL_M if depth or not scene.frames else LIDAR_VOXEL_M)


def default_options(scene: Scene) -> ViewSegmentOptions:
    """Return the options that suit a scene's kind of cloud."""
    return LIDAR if _is_lidar(scene) else RGBD


def segment_graph(scene: Scene) -> SurfaceGraph:
    """Return the graph in which a scene is segmented.

    Of a LiDAR, ground is divided from what stands on it, and voxels grow with the range if the cameras show where the
    sensor was: if they are close together.
    """
    if not _is_lidar(scene):
        return scene_graph(scene)
    centres = np.stack([frame.camera_to_world[:3, 3] for frame in scene.frames])
    centre = centres.mean(axis=0)
    points = scene.points_world
    if np.linalg.norm(centres - centre, axis=1).max() < LIDAR_NEAR_M:
        points = range_scaled(points, centre, LIDAR_NEAR_M).astype(np.float32)
    graph = surface_graph(points, scene.colours, LIDAR_VOXEL_M)
    return divided_at_ground(graph, ground_points(scene.upright_points()))


def _is_lidar(scene: Scene) -> bool:
    return bool(scene.frames) and all(frame.depth is None for frame in scene.frames)


def mask_views(scene: Scene, masks: MaskMaker, size: Size, pairing: PairingConfig) -> list[ViewMasks]:
    """Return the points that each frame sees and their masks, on a grid of `size`."""
    views: list[ViewMasks] = []
    for frame in scene.frames:
        pairs = pair_points(scene, frame, size, pairing)
        ids = torch.from_numpy(masks.mask_ids(frame, size).astype(np.int64))
        views.append((pairs.point.numpy(), ids[pairs.row, pairs.column].numpy()))
    return views


def scene_segments(
    scene: Scene,
    masks: MaskMaker,
    size: Size,
    pairing: PairingConfig,
    options: ViewSegmentOptions | None = None,
    cache: TeacherCache | None = None,
    views: list[ViewMasks] | None = None,
) -> ViewSegments:
    """Return the segments of a scene's points; with `cache` they are computed once per content and options.

    `views` are those of `mask_views`, if they are known already.
    """
    options = options or default_options(scene)

    def compute() -> ViewSegments:
        seen = mask_views(scene, masks, size, pairing) if views is None else views
        return view_segments(segment_graph(scene), seen, options)

    if cache is None:
        return compute()
    shelf = cache.shelf(
        "segments", masks=masks.fingerprint(), size=size, pairing=pairing, options=options, method=METHOD
    )
    digest = scene_digest(scene)
    stored = shelf.arrays(digest)
    if stored is None:
        found = compute()
        stored = {"fine": found.fine.astype(np.int32), "levels": found.levels.astype(np.int32)}
        shelf.put_arrays(digest, stored)
    return ViewSegments(stored["fine"].astype(np.int64), stored["levels"].astype(np.int64), options.merge.thresholds)


def scene_digest(scene: Scene) -> str:
    """Return a digest of a scene's points, colours, images, depth maps and poses, and of the direction of up."""
    found = hashlib.sha256(np.ascontiguousarray(scene.points_world).tobytes())
    found.update(scene.up_world().tobytes())
    if scene.colours is not None:
        found.update(np.ascontiguousarray(scene.colours).tobytes())
    for frame in scene.frames:
        depth = "" if frame.depth is None else frame.depth.digest()
        found.update(f"{frame.image.digest()} {depth} {frame.size} {frame.depth_scale}".encode())
        found.update(frame.intrinsics.tobytes() + frame.world_to_camera.tobytes())
    return found.hexdigest()


def share_in_masks(count: int, views: list[ViewMasks]) -> float:
    """Return the share of a scene's points, `count` in all, that lie in a mask of some frame."""
    inside = np.zeros(count, np.bool_)
    for points, ids in views:
        inside[points[ids != NO_MASK]] = True
    return float(inside.mean())
