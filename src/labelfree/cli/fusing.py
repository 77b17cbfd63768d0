"""`--fuse`: fused predictions of finished networks, for `predict` and `evaluate`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labelfree.cli.arguments import cache_dir
from labelfree.config.labels import PairingConfig, PredictConfig
from labelfree.config.reading import read_settings
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.labelling.fusion import FusedLabels, SegmentSource
from labelfree.labelling.labellers import NetworkLabels
from labelfree.prediction import Prediction
from labelfree.scene import Frame, Scene
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.opening import load_mask_maker

SETTINGS = "settings.yaml"


def add_fuse(parser: argparse.ArgumentParser, cache: bool = True) -> None:
    """Add --fuse and, if the verb has none, --cache for the masks."""
    parser.add_argument(
        "--fuse",
        action="store_true",
        help="average over moved copies of the cloud, add the 2D network, take the mean per segment; clouds get "
        "confidence, support and segment",
    )
    if cache:
        parser.add_argument("--cache", type=Path, default=None, help="folder of masks for --fuse (default: OUT/cache)")


def run_settings(run: Path) -> RunConfig:
    """Return the settings of a run, which name its masks."""
    if not (run / SETTINGS).is_file():
        raise InputError(f"{run / SETTINGS}: no such file, but --fuse reads there which masks to use; give a run.")
    return read_settings(run / SETTINGS)


def fused(networks: NetworkLabels, config: RunConfig, options: argparse.Namespace, device: torch.device) -> FusedLabels:
    """Return the fused labels of networks, with the masks of their run."""
    masks = load_mask_maker(config, cache_dir(options), device)
    cache = TeacherCache(cache_dir(options))
    source = SegmentSource(masks, config.labels.image_size, config.pairing, cache, config.consensus.level)
    return FusedLabels(networks, source, replace(config.predict, fuse=True), config.consensus.reach_px)


def fused_cloud(networks: NetworkLabels, scene: Scene) -> Prediction:
    """Return the fused labels of a cloud without images: moved copies and segments by geometry."""
    source = SegmentSource(_NoMasks(), (1, 1), PairingConfig())
    return FusedLabels(networks, source, PredictConfig(fuse=True)).points(scene)


class _NoMasks:
    """Masks of a scene without images, which nothing asks for."""

    notices: tuple[str, ...] = ()

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        """Return no masks."""
        return np.zeros(size, np.uint16)

    def features(self, frame: Frame) -> NDArray[np.float16] | None:
        """Return None."""
        return None

    def describe(self) -> str:
        """Return a description."""
        return "no masks"

    def fingerprint(self) -> str:
        """Return a digest."""
        return "none"
