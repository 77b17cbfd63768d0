"""Training data of co-training: scenes with their teachers' outputs, built on access and cached in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from labelfree.data.digests import frame_key, points_digest
from labelfree.data.pairs import pairs_by_depth
from labelfree.nets.point_features import stored_features
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers
from labelfree.training.kept_frames import FORMAT, KeptFrames
from labelfree.training.prepared_scenes import PreparedScenes
from labelfree.training.samples import LabelledFrame, LabelledScene


class LabelledScenes(PreparedScenes[LabelledScene]):
    """The training scenes; each is labelled on first access."""

    def __init__(self, scenes: Sequence[Scene], teachers: Teachers, memory_gb: float = 4.0) -> None:
        super().__init__(scenes, memory_gb)
        self.teachers = teachers
        self.kept_frames = _kept_frames(teachers)

    def build(self, scene: Scene) -> LabelledScene:
        """Return one scene with labels, masks, pairs and latent targets."""
        digest = points_digest(scene.points_world) if self.kept_frames else ""
        frames = tuple(self.frame(scene, frame, digest) for frame in scene.frames)
        return LabelledScene(scene.name, scene.upright_points(), stored_features(scene), frames)

    def frame(self, scene: Scene, frame: Frame, points: str) -> LabelledFrame:
        """Return a frame with labels, masks, pairs and latent target; `points` is the digest of the scene's points."""
        make = partial(self._make, scene, frame)
        if self.kept_frames:
            by_depth = pairs_by_depth(frame, self.teachers.pairing)
            made = self.kept_frames.frame(frame_key(frame, points, by_depth), make)
        else:
            made = make()
        return replace(made, target=self.teachers.latent_target(frame))

    def _make(self, scene: Scene, frame: Frame) -> LabelledFrame:
        pairs = self.teachers.pairs(scene, frame)
        return LabelledFrame(
            image=frame.resized(self.teachers.size).load_image(),
            labels=self.teachers.training_labels(frame),
            mask_ids=self.teachers.mask_ids(frame),
            pair_point=pairs.point.numpy().astype(np.int32),
            pair_row=pairs.row.numpy().astype(np.int32),
            pair_column=pairs.column.numpy().astype(np.int32),
            target=None,
        )


def _kept_frames(teachers: Teachers) -> KeptFrames | None:
    """Return the folder of kept frames for these settings; None if frames are not kept."""
    if not teachers.labels.keep_frames or teachers.cache is None:
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
    return KeptFrames(shelf.folder, (height, width))
