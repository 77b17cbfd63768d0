"""Tiny labelled scenes and networks for the tests of training."""

from __future__ import annotations

import numpy as np
import torch

from labelfree import Vocabulary
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.nets.segmenters import Segmenter2D, Segmenter2DConfig, Segmenter3D, Segmenter3DConfig
from labelfree.training.augment import AugmentConfig
from labelfree.training.loop import CoTrained, TrainConfig, TrainingPlan
from labelfree.training.samples import LabelledFrame, LabelledScene
from labelfree.training.step import SwitchConfig

CLASSES = 3
SIZE = (16, 24)
STILL = AugmentConfig(crop_area=(1.0, 1.0), flip_images=False, rotate_points=False, flip_points=False)


def toy_scene(seed: int, frames: int = 2, points: int = 120, latent: bool = True) -> LabelledScene:
    random = np.random.default_rng(seed)

    def frame() -> LabelledFrame:
        pairs = 60
        return LabelledFrame(
            image=random.integers(0, 255, (*SIZE, 3), dtype=np.uint8),
            labels=random.integers(0, CLASSES, SIZE).astype(np.uint8),
            mask_ids=random.integers(0, 5, SIZE).astype(np.uint16),
            pair_point=np.sort(random.permutation(points)[:pairs]),
            pair_row=random.integers(0, SIZE[0], pairs),
            pair_column=random.integers(0, SIZE[1], pairs),
            target=random.normal(size=(4, 4, 6)).astype(np.float16) if latent else None,
        )

    return LabelledScene(
        f"scene-{seed}",
        random.uniform(-1, 1, (points, 3)).astype(np.float32),
        random.uniform(-1, 1, (points, 3)).astype(np.float32),
        tuple(frame() for _ in range(frames)),
    )


def toy_networks(seed: int = 0) -> CoTrained:
    torch.manual_seed(seed)
    text = random_orthogonal(8, CLASSES).T.contiguous()
    names = Vocabulary(tuple("abc"))
    net_2d = Segmenter2DConfig("resnet18", width=4, aspp_channels=8, dropout=0.1, text_width=8, latent_width=4)
    net_3d = Segmenter3DConfig(
        "MinkUNet14A", planes=(8,) * 8, first_width=8, in_channels=3, voxel_m=0.2, text_width=8, latent_width=4
    )
    return CoTrained(Segmenter2D(net_2d, text, names), Segmenter3D(net_3d, text, names))


def toy_plan(epochs: int = 3, start_epoch: int = 1, scenes_per_batch: int = 2, seed: int = 5) -> TrainingPlan:
    return TrainingPlan(
        seed=seed,
        train=TrainConfig(epochs, scenes_per_batch, images_per_scene=2, learning_rate=0.02, checkpoint_seconds=0.0),
        switch=SwitchConfig(start_epoch),
        augment=AugmentConfig(),
    )
