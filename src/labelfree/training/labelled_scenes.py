"""Training data of co-training: scenes with their teachers' outputs, built on access and cached in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from labelfree.corrections.pixels import corrected_pixels
from labelfree.corrections.value import CorrectionSet
from labelfree.data.digests import frame_key, points_digest
from labelfree.data.pairs import pairs_by_depth
from labelfree.errors import InputError
from labelfree.method.pairing import Pairs
from labelfree.nets.point_features import stored_features
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers
from labelfree.training.kept_frames import FORMAT, KeptFrames
from labelfree.training.prepared_scenes import PreparedScenes
from labelfree.training.samples import LabelledFrame, LabelledScene
from labelfree.vocabulary import IGNORE_LABEL

SPARE = 0.1
"""Share of the disk that frames leave free if nobody asked to keep them."""


class LabelledScenes(PreparedScenes[LabelledScene]):
    """The training scenes; each is labelled on first access. `epochs` is how often training reads each of them.

    `sweeps` is the number of earlier sweeps that are added to a scene, each a cloud of its own (`train.sweeps`).
    Corrected points, and the pixels that see them, have the corrected label in every stage.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        teachers: Teachers,
        memory_gb: float = 4.0,
        epochs: int = 1,
        sweeps: int = 0,
        corrections: CorrectionSet | None = None,
    ) -> None:
        super().__init__(scenes, memory_gb)
        self.teachers = teachers
        self.epochs = epochs
        self.sweeps = sweeps
        self.corrections = corrections or CorrectionSet()

    @cached_property
    def kept_frames(self) -> KeptFrames | None:
        """Return the folder of kept frames, or None if none are kept whatever the memory."""
        return _kept_frames(self.teachers)

    def keeps_frames(self) -> bool:
        """Return whether to keep frames: if the setting leaves it open, where this process will make them again."""
        wanted = self.teachers.labels.keep_frames
        if wanted is None:
            # Each worker sees other scenes in each epoch, so that its own memory rarely holds the one it needs.
            wanted = self.epochs > 1 and (self.overflowed or get_worker_info() is not None)
        return wanted and self.kept_frames is not None

    def build(self, scene: Scene) -> LabelledScene:
        """Return one scene with labels, masks, pairs and latent targets."""
        clouds = with_sweeps(scene, self.sweeps) if self.sweeps else (scene,)
        digest = " ".join(points_digest(cloud.points_world) for cloud in clouds) if self.keeps_frames() else ""
        frames = tuple(self.frame(clouds, frame, digest) for frame in scene.frames)
        fixed = self.corrections.labels(scene)
        if fixed is not None:
            frames = tuple(with_corrections(frame, fixed) for frame in frames)
        whole = joined(clouds) if self.sweeps else scene
        sizes = tuple(len(cloud) for cloud in clouds) if self.sweeps else ()
        return LabelledScene(scene.name, whole.upright_points(), stored_features(whole), frames, sizes)

    def frame(self, clouds: Sequence[Scene], frame: Frame, points: str) -> LabelledFrame:
        """Return a frame with labels, masks, latent target, and pairs with the points of all clouds.

        `points` is the digest of the clouds' points if frames are kept, else empty.
        """
        make = partial(self._make, clouds, frame)
        if points and self.kept_frames is not None:
            by_depth = pairs_by_depth(frame, self.teachers.pairing)
            made = self.kept_frames.frame(frame_key(frame, points, by_depth), make)
        else:
            made = make()
        return replace(made, target=self.teachers.latent_target(frame))

    def _make(self, clouds: Sequence[Scene], frame: Frame) -> LabelledFrame:
        pairs = joined_pairs([(self.teachers.pairs(cloud, frame), len(cloud)) for cloud in clouds])
        labels, mask_ids = self.teachers.training_labels(frame)
        return LabelledFrame(
            image=frame.resized(self.teachers.size).load_image(),
            labels=labels,
            mask_ids=mask_ids,
            pair_point=pairs.point.numpy().astype(np.int32),
            pair_row=pairs.row.numpy().astype(np.int32),
            pair_column=pairs.column.numpy().astype(np.int32),
            target=None,
        )


def with_corrections(
    frame: LabelledFrame,
    fixed: NDArray[np.uint8],  # [N] class of each point of the scene, 255 = not corrected
) -> LabelledFrame:
    """Return a frame in which the pixels that see a corrected point have its label; points of sweeps have none."""
    own = frame.pair_point < len(fixed)
    seen = (frame.pair_point[own], frame.pair_row[own], frame.pair_column[own])
    corrected = corrected_pixels(fixed, *seen, (frame.labels.shape[0], frame.labels.shape[1]))
    where = corrected != IGNORE_LABEL
    return replace(frame, labels=np.where(where, corrected, frame.labels), fixed=where)


def with_sweeps(scene: Scene, count: int) -> tuple[Scene, ...]:
    """Return a scene and up to `count` scenes with the points of an earlier sweep each, in the same coordinates.

    Raises an `InputError` if its dataset has no sweeps.
    """
    if scene.sweeps is None:
        raise InputError(
            f"train.sweeps is {count} but scene '{scene.name}' has no earlier sweeps, which nuScenes has: set it to 0."
        )
    clouds = ((sweep[:, :3] - scene.origin_m.astype(np.float32), sweep[:, 3]) for sweep in scene.sweeps.load(count))
    plain = replace(scene, labels=None, exact_points=None, kept=None)
    return scene, *(replace(plain, points_world=points, intensity=intensity) for points, intensity in clouds)


def joined(clouds: Sequence[Scene]) -> Scene:
    """Return one scene with the points and intensities of several."""
    strengths = [cloud.intensity for cloud in clouds if cloud.intensity is not None]
    return replace(
        clouds[0],
        points_world=np.concatenate([cloud.points_world for cloud in clouds]),
        intensity=np.concatenate(strengths) if strengths else None,
        labels=None,
        exact_points=None,
        kept=None,
    )


def joined_pairs(
    parts: Sequence[tuple[Pairs, int]],  # pairs of each cloud, and its number of points
) -> Pairs:
    """Return the pairs of one frame with several clouds, whose points follow one another."""
    if len(parts) == 1:
        return parts[0][0]
    first = np.cumsum([0, *(size for _, size in parts)]).tolist()
    return Pairs(
        torch.cat([pairs.point + start for (pairs, _), start in zip(parts, first)]),
        torch.cat([pairs.row for pairs, _ in parts]),
        torch.cat([pairs.column for pairs, _ in parts]),
    )


def _kept_frames(teachers: Teachers) -> KeptFrames | None:
    """Return the folder of kept frames for these settings; None without a cache."""
    if teachers.cache is None:
        return None
    height, width = teachers.size
    shelf = teachers.cache.shelf(
        "frames",
        format=FORMAT,
        namer=teachers.namer.fingerprint(),
        masks=teachers.masks.fingerprint(),
        size=(height, width),
        refine=teachers.labels.refine,
        soft=teachers.labels.soft_vote,
        pairing=asdict(teachers.pairing),
    )
    return KeptFrames(shelf.folder, (height, width), SPARE if teachers.labels.keep_frames is None else 0.0)
