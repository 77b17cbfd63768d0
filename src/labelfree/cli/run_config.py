"""Conversion of command-line options to a `RunConfig`, and the facts that reports list."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.config.run_config import RunConfig
from labelfree.config.teachers import ClipOptions, SamOptions
from labelfree.config.training import MODALITIES
from labelfree.errors import InputError
from labelfree.runtime.lab import world_of

if TYPE_CHECKING:
    from labelfree.teachers.teachers import Teachers


def run_config(options: argparse.Namespace, overrides: Sequence[str]) -> RunConfig:
    """Return the recipe's settings with --clip, --sam, --seed and the overrides applied."""
    config = read_settings(recipe_path(options.recipe), overrides)
    teachers = config.teachers
    # Options of a recipe for the lab's teachers do not fit another model: use the paper's.
    if options.clip is not None and options.clip != teachers.clip:
        plain = ClipOptions() if world_of(teachers.clip) else teachers.clip_options
        teachers = replace(teachers, clip=options.clip, clip_options=plain)
    if options.sam is not None and options.sam != teachers.sam:
        everything = SamOptions() if world_of(teachers.sam) else teachers.sam_options
        teachers = replace(teachers, sam=options.sam, sam_options=everything)
    seed = getattr(options, "seed", None)
    return replace(config, teachers=teachers, seed=config.seed if seed is None else seed)


def require_cotraining(config: RunConfig, verb: str) -> None:
    """Raise an InputError if the settings do not co-train both networks, on which the verb reports."""
    if config.system not in {"cns", "consensus"} or len(config.train.modalities) < len(MODALITIES):
        raise InputError(
            f"'labelfree {verb}' reports on both co-trained networks, but system is {config.system} and "
            f"train.modalities is {list(config.train.modalities)}: use 'labelfree train' or 'table' for such a system."
        )


def notices(config: RunConfig, teachers: Teachers, real_work: str | None) -> tuple[str, ...]:
    """Return the notices that stand above the results, one sentence or two each.

    `real_work` is the command recommended for real images; None leaves the notice about the lab's teachers out.
    """
    lab: tuple[str, ...] = ()
    if real_work is not None and (world_of(config.teachers.clip) or world_of(config.teachers.sam)):
        lab = (f"{LAB_NOTICE} For real work, with CLIP and SAM from the Hugging Face hub: {real_work}",)
    return (*lab, *teachers.namer.notices, *teachers.masks.notices)


def facts(config: RunConfig, teachers: Teachers) -> tuple[tuple[str, str], ...]:
    """Return the settings that a report lists, as pairs of name and value."""
    train = config.train
    return (
        ("CLIP", teachers.namer.describe()),
        ("SAM", teachers.masks.describe()),
        ("image size", f"{config.labels.image_size[0]} x {config.labels.image_size[1]}"),
        ("2D network", f"DeepLabV3, {config.networks.net_2d.backbone}, width {config.networks.net_2d.width}"),
        ("3D network", f"{config.networks.net_3d.variant}, voxels of {config.networks.net_3d.voxel_m} m"),
        ("training", f"{train.epochs} epochs, stage two from epoch {config.switch.start_epoch}, seed {config.seed}"),
    )


LAB_NOTICE = (
    "The labels come from the lab's small CLIP, which was trained on rendered scenes only: they are poor on real "
    "images."
)
