"""Training data of co-training: scenes with their teachers' outputs, built on access and cached in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial

import numpy as np
from torch.utils.data import get_worker_info

from labelfree.data.digests import frame_key, points_digest
from labelfree.data.pairs import pairs_by_depth
from labelfree.nets.point_features import stored_features
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers
from labelfree.training.kept_frames import FORMAT, KeptFrames
from labelfree.training.prepared_scenes import PreparedScenes
from labelfree.training.samples import LabelledFrame, LabelledScene

SPARE = 0.1
"""Share of the disk that frames leave free if nobody asked to keep them."""


class LabelledScenes(PreparedScenes[LabelledScene]):
    """The training scenes; each is labelled on first access. `epochs` is how often training reads each of them."""

    def __init__(self, scenes: Sequence[Scene], teachers: Teachers, memory_gb: float = 4.0, epochs: int = 1) -> None:
        super().__init__(scenes, memory_gb)
        self.teachers = teachers
        self.epochs = epochs

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
        digest = points_digest(scene.points_world) if self.keeps_frames() else ""
        frames = tuple(self.frame(scene, frame, digest) for frame in scene.frames)
        return LabelledScene(scene.name, scene.upright_points(), stored_features(scene), frames)

    def frame(self, scene: Scene, frame: Frame, points: str) -> LabelledFrame:
        """Return a frame with labels, masks, pairs and latent target.

        `points` is the digest of the scene's points if frames are kept, else empty.
        """
        make = partial(self._make, scene, frame)
        if points and self.kept_frames is not None:
            by_depth = pairs_by_depth(frame, self.teachers.pairing)
            made = self.kept_frames.frame(frame_key(frame, points, by_depth), make)
        else:
            made = make()
        return replace(made, target=self.teachers.latent_target(frame))

    def _make(self, scene: Scene, frame: Frame) -> LabelledFrame:
        pairs = self.teachers.pairs(scene, frame)
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
