"""`labelfree import rosbag FILE... --out DIR`: write a ROS bag or an MCAP file as a capture."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labelfree.cli.terminal import say
from labelfree.data.bags.folder import ImportFolder
from labelfree.data.bags.importing import DESCRIPTION, ImportOptions, import_bag, source_of
from labelfree.data.bags.reading import Bag, open_bag
from labelfree.data.bags.topics import NONE, ChosenTopics, NamedTopics, choose_topics
from labelfree.errors import InputError
from labelfree.files.run_lock import run_lock
from labelfree.runtime.progress import Progress

KINDS = ("rosbag",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the kind, FILE, the output folder and the topics."""
    default = ImportOptions()
    parser.add_argument("kind", choices=KINDS, help="rosbag: ROS 1 bags, ROS 2 bags and MCAP files")
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help=".bag files, a ROS 2 bag's folder, or .mcap or .db3 files"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the capture; repeat the command to resume")
    parser.add_argument(
        "--image-topic", action="append", default=[], help="images; repeat it for the cameras of a LiDAR"
    )
    parser.add_argument("--info-topic", action="append", default=[], help="CameraInfo of each image topic, in order")
    parser.add_argument("--depth-topic", default=None, help=f"depth that shows the images' view; '{NONE}' for none")
    parser.add_argument("--pose-topic", default=None, help="poses: Odometry, PoseStamped or PoseWithCovarianceStamped")
    parser.add_argument("--cloud-topic", default=None, help="LiDAR sweeps: PointCloud2")
    parser.add_argument("--tf-frame", default=None, help="take poses from tf, in this frame of the world, such as map")
    parser.add_argument("--camera-frame", default=None, help="frame of the camera (default: that of the images)")
    parser.add_argument(
        "--ros-axes", action="store_true", help="the camera's frame has x forward and z up instead of z forward"
    )
    parser.add_argument("--every", type=int, default=1, help="take every n-th image or sweep (default: 1)")
    parser.add_argument("--max-frames", type=int, default=None, help="import at most n frames (default: all)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=default.tolerance_s,
        help=f"seconds between messages of one frame (default: {default.tolerance_s:g})",
    )
    parser.add_argument(
        "--pose-gap",
        type=float,
        default=default.pose_gap_s,
        help=f"seconds between two poses that are interpolated (default: {default.pose_gap_s:g})",
    )


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Choose the topics, import the frames and print what was left out."""
    settings = _settings(options)
    named = NamedTopics(
        tuple(options.image_topic),
        tuple(options.info_topic),
        options.depth_topic,
        options.pose_topic,
        options.cloud_topic,
        options.tf_frame,
        options.camera_frame,
    )
    with open_bag(options.files) as bag:
        chosen = choose_topics(bag, named)
        for line in chosen.describe():
            say(line)
        folder = ImportFolder(options.out, source_of(options.files, chosen, settings))
        with run_lock(options.out, "import"):
            outcome = folder.claim()
            if outcome is None:
                outcome = _import(bag, chosen, folder, settings)
    for note in outcome["notes"]:
        say(note)
    lost = ", ".join(f"{count} without {lacks}" for lacks, count in outcome["lost"].items())
    print(f"{outcome['frames']} frames are in {options.out}" + (f"; left out: {lost}" if lost else ""))
    data = options.out / DESCRIPTION if chosen.cloud is not None else options.out
    print(f"next: {shlex.join(['labelfree', 'check', str(data)])}")
    return 0


def _import(bag: Bag, chosen: ChosenTopics, folder: ImportFolder, settings: ImportOptions) -> dict[str, Any]:
    main = chosen.cloud or chosen.cameras[0].image
    total = math.ceil(main.count / settings.every)
    with Progress("import", total if settings.max_frames is None else min(total, settings.max_frames)) as progress:
        outcome = asdict(import_bag(bag, chosen, folder, settings, progress.advance))
    folder.finish(outcome)
    return outcome


def _settings(options: argparse.Namespace) -> ImportOptions:
    for name in ("every", "max_frames"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} is {value}: give a whole number from 1.")
    for name in ("tolerance", "pose_gap"):
        value = getattr(options, name)
        if not 0 <= value <= 3600:
            raise InputError(f"--{name.replace('_', '-')} is {value:g}: give seconds from 0 to 3600.")
    return ImportOptions(options.every, options.max_frames, options.tolerance, options.pose_gap, options.ros_axes)
