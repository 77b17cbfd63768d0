"""`labelfree label DATA --out DIR`: CLIP labels, SAM masks and the vote; no training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from labelfree.atomic import write_png
from labelfree.cli.arguments import (
    add_classes,
    add_data,
    add_teachers,
    cache_dir,
    open_data,
    require_depth,
    require_sound,
    vocabulary,
)
from labelfree.cli.settings import run_config, save_settings
from labelfree.comparison import TeacherLabels
from labelfree.pipeline import label_frames, load_teachers, pick_device
from labelfree.results.export import file_stem, save_prediction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA, classes, teachers, where to write."""
    add_data(parser)
    add_classes(parser)
    add_teachers(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for labels, masks and clouds")
    parser.add_argument(
        "--shard", default="1/1", help="i/n: do the i-th of n parts of the scenes, for several machines"
    )


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Label every frame and cloud; frames already in the cache cost nothing."""
    config = run_config(options, overrides)
    require_depth(options, config)
    scenes = open_data(options)
    names = vocabulary(options, scenes)
    require_sound(scenes)
    part, parts = parse_shard(options.shard)
    mine = scenes[part - 1 :: parts]
    device = pick_device(options.device)
    teachers = load_teachers(config.teachers, config.labels, names, cache_dir(options), device)
    save_settings(config, options.out)
    label_frames(mine, teachers, config.labels, device)
    voted = TeacherLabels(teachers, config.labels, config.pairing, names, voted=True)
    for scene in mine:
        folder = options.out / file_stem(scene.name)
        for frame in scene.frames:
            size = config.labels.image_size
            write_png(folder / "clip" / f"{frame.name}.png", teachers.namer.labels(frame, size))
            write_png(folder / "masks" / f"{frame.name}.png", teachers.masks.mask_ids(frame, size))
            save_prediction(voted.pixels(scene, frame), folder / "refined", frame.load_image())
        if not scene.images_only:
            save_prediction(voted.points(scene), options.out / "points")
    print(f"labels of {len(mine)} scenes are in {options.out}")
    return 0


def parse_shard(text: str) -> tuple[int, int]:
    """Return (i, n) of `i/n`."""
    from labelfree.errors import InputError

    part, found, parts = text.partition("/")
    if not found or not part.isdigit() or not parts.isdigit() or not 1 <= int(part) <= int(parts):
        raise InputError(f"--shard is '{text}': write i/n with 1 <= i <= n, such as 3/16.")
    return int(part), int(parts)
