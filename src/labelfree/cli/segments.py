"""`labelfree segments DATA --out DIR`: segment clouds by geometry and masks, without classes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labelfree.cli.arguments import add_data, add_teachers, cache_dir, open_data, require_depth, tell
from labelfree.cli.out_folder import check_out
from labelfree.cli.preflight import require_sound
from labelfree.cli.run_config import run_config
from labelfree.data.collection import layout_of
from labelfree.errors import InputError
from labelfree.files.outputs import OutputFolder
from labelfree.labelling.scene_segments import mask_views, scene_segments, share_in_masks
from labelfree.results.export import cloud_files, require_distinct
from labelfree.results.segment_files import save_segments
from labelfree.runtime.devices import pick_device
from labelfree.runtime.progress import Progress
from labelfree.scene import Scene
from labelfree.segments.view_segments import ViewSegmentOptions, ViewSegments
from labelfree.teachers.cache import TeacherCache
from labelfree.teachers.labelling import SamMasks
from labelfree.teachers.opening import load_mask_maker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add DATA, the masks, the level and the output folder."""
    add_data(parser)
    add_teachers(parser, names=False)
    parser.add_argument("--out", type=Path, required=True, help="folder for clouds with segments")
    parser.add_argument(
        "--level",
        type=float,
        default=ViewSegmentOptions().level,
        help="affinity down to which segments are merged, one of "
        f"{', '.join(f'{level:g}' for level in ViewSegmentOptions().merge.thresholds)}; a lower one gives larger "
        f"segments (default: {ViewSegmentOptions().level:g})",
    )


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Segment each scene, write its files and print a line about it."""
    chosen = ViewSegmentOptions()
    if options.level not in chosen.merge.thresholds:
        levels = ", ".join(f"{level:g}" for level in chosen.merge.thresholds)
        raise InputError(f"--level is {options.level:g}: give one of {levels}.")
    config = run_config(options, overrides)
    require_depth(options, config)
    if layout_of(options.data, options.layout).images_only:
        raise InputError(f"{options.data}: has images but no points, and segments are those of points; give scenes.")
    check_out(options.out, options.data)
    check_out(cache_dir(options), options.data, "--cache")
    scenes = open_data(options)
    require_sound(scenes)
    require_distinct(scenes.names)
    OutputFolder(options.out).claim([path for name in scenes.names for path in cloud_files(name, options.out)])
    masks = load_mask_maker(config, cache_dir(options), pick_device(options.device))
    tell(masks.notices if isinstance(masks, SamMasks) else ())  # those of files are about training
    size, cache = config.labels.image_size, TeacherCache(cache_dir(options))
    lines = []
    with Progress("segment", len(scenes)) as progress:
        for scene in scenes:
            views = mask_views(scene, masks, size, config.pairing)
            found = scene_segments(scene, masks, size, config.pairing, cache=cache, views=views)
            save_segments(scene, found, options.level, options.out)
            seen = share_in_masks(len(scene), views)
            lines.append(summary(scene, found, options.level, seen))
            progress.advance()
    print("\n".join(lines))
    print(f"segments of {len(lines)} scene(s) are in {options.out}")
    return 0


def summary(scene: Scene, found: ViewSegments, level: float, seen: float) -> str:
    """Return a line about the segments of a scene: number, sizes, and the share of points that masks cover."""
    sizes = np.sort(np.bincount(found.at(level)))[::-1]
    return (
        f"{scene.name}: {len(sizes):,} segments (over-segmentation {found.fine.max() + 1:,}) of {len(scene):,} points; "
        f"largest {sizes[0]:,}, median {int(np.median(sizes)):,} points; masks cover {100 * seen:.1f} % of the points"
    )
