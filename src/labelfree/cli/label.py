"""`labelfree label DATA --out DIR`: write CLIP labels, SAM masks and voted labels, without training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from labelfree.cli.arguments import (
    add_inputs,
    cache_dir,
    open_data,
    read_options,
    require_depth,
    vocabulary,
)
from labelfree.cli.engines import RayEngine, add_engine, check_engine, driver_device, ray_engine
from labelfree.cli.out_folder import check_out
from labelfree.cli.preflight import require_sound
from labelfree.cli.run_config import run_config
from labelfree.config.identity import IDENTITY, require_same, write_identity
from labelfree.config.reading import settings_yaml
from labelfree.config.run_config import RunConfig
from labelfree.data.collection import SceneCollection, open_scenes
from labelfree.errors import InputError
from labelfree.files.atomic import write_png, write_text
from labelfree.files.leftovers import remove_leftovers
from labelfree.files.outputs import OutputFolder
from labelfree.files.run_lock import run_lock
from labelfree.labelling.labellers import TeacherLabels
from labelfree.labelling.spread_frames import (
    FrameWork,
    SceneFrames,
    fingerprints,
    label_frames_with,
)
from labelfree.prediction import without_guesses
from labelfree.results.export import cloud_files, file_stem, picture_files, require_distinct, save_prediction
from labelfree.run import SETTINGS, TRAINING, labels_identity
from labelfree.runtime.surroundings import surroundings
from labelfree.scene import Scene
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.opening import load_teachers
from labelfree.teachers.teachers import Teachers

IMAGE_FOLDERS = ("clip", "masks", "refined")
IN_FLIGHT = 2
"""Parts that a Ray worker has at one time: the second one waits, so that the worker never does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add DATA, classes, teachers, output folder, shard and engine."""
    add_inputs(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for labels, masks and clouds")
    parser.add_argument(
        "--shard", default="1/1", help="i/n: label the i-th of n parts of the scenes (default: 1/1, all scenes)"
    )
    add_engine(parser)


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Label every frame and cloud; teacher outputs in the cache are reused."""
    config = run_config(options, overrides)
    require_depth(options, config)
    part, parts = parse_shard(options.shard)
    check_engine(options)
    check_out(options.out, options.data)
    check_out(cache_dir(options), options.data, "--cache")
    with run_lock(options.out, "label", "" if parts == 1 else f"{part}-of-{parts}"):
        remove_leftovers(options.out)
        with ray_engine(options) as engine:
            return _label(options, config, part, parts, engine)


def _label(options: argparse.Namespace, config: RunConfig, part: int, parts: int, engine: RayEngine | None) -> int:
    # Open data and teachers
    scenes = open_data(options)
    names = vocabulary(options, scenes)
    require_sound(scenes)
    mine = scenes[part - 1 :: parts]
    device = driver_device(options)
    teachers = load_teachers(config, names, cache_dir(options), device)

    # Claim the output folder
    if (options.out / TRAINING).is_dir():
        raise InputError(f"{options.out}: holds a training run; choose another --out for labels.")
    identity = labels_identity(config, teachers)
    require_same(options.out, identity, options.out)
    outputs = _outputs(scenes.names, mine.names, options.out)
    write_identity(options.out, identity)
    write_text(options.out / SETTINGS, settings_yaml(config))

    # Label and write
    if engine is None:
        label_frames(mine, teachers, device)
    else:
        _label_on_ray(options, mine, teachers, config, engine)
    voted = TeacherLabels(teachers, voted=True)
    for scene in mine:
        outputs.claim(_scene_files(scene, options.out))
        folder = options.out / file_stem(scene.name)
        for frame in scene.frames:
            write_png(folder / "clip" / f"{frame.name}.png", teachers.clip_labels(frame))
            write_png(folder / "masks" / f"{frame.name}.png", teachers.mask_ids(frame))
            save_prediction(voted.pixels(scene, frame), folder / "refined", frame.load_image())
        if not scene.images_only:
            cloud = voted.points(scene)
            cloud = without_guesses(cloud) if config.predict.unseen == "ignore" else cloud
            save_prediction(cloud, options.out / "points")
    print(f"labels of {len(mine)} scenes are in {options.out}")
    return 0


def _label_on_ray(
    options: argparse.Namespace, scenes: SceneCollection, teachers: Teachers, config: RunConfig, engine: RayEngine
) -> None:
    """Compute the teacher outputs of all frames on the workers of a Ray cluster, in the shared cache."""
    cache, data = cache_dir(options).absolute(), options.data.absolute()
    reading = replace(read_options(options), cache_dir=cache / "clouds", skip_broken=False)  # left out by name already
    frames = tuple(SceneFrames(scene.name, len(scene.frames)) for scene in scenes)
    with surroundings(cache) as around:
        work = FrameWork(
            partial(open_scenes, data, options.root and options.root.absolute(), reading, options.layout),
            frames,
            config,
            teachers.vocabulary,
            cache,
            around,
            engine.device,
            fingerprints(teachers),
        )
        label_frames_with(work, engine.crew(work, IN_FLIGHT), engine.workers)


def _outputs(scenes: Sequence[str], mine: Sequence[str], out: Path) -> OutputFolder:
    """Return the output folder after claiming the files that are known before labelling starts."""
    require_distinct(scenes)
    outputs = OutputFolder(out)
    points = [path for name in mine for path in cloud_files(name, out / "points")]
    images = [out / file_stem(name) / kind for name in mine for kind in IMAGE_FOLDERS]
    outputs.claim([out / SETTINGS, out / IDENTITY, *points], image_folders=images)
    return outputs


def _scene_files(scene: Scene, out: Path) -> list[Path]:
    clip, masks, refined = (out / file_stem(scene.name) / kind for kind in IMAGE_FOLDERS)
    files = list(cloud_files(scene.name, out / "points"))
    for frame in scene.frames:
        files += [clip / f"{frame.name}.png", masks / f"{frame.name}.png", *picture_files(frame.name, refined)]
    return files


def parse_shard(text: str) -> tuple[int, int]:
    """Return (i, n) of `i/n`. Raises an InputError if it is not of that form with 1 <= i <= n."""
    part, found, parts = text.partition("/")
    if not found or not part.isdecimal() or not parts.isdecimal() or not 1 <= int(part) <= int(parts):
        raise InputError(f"--shard is '{text}': write i/n with 1 <= i <= n, such as 3/16.")
    return int(part), int(parts)
