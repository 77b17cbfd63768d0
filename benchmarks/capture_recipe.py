"""Measure what `labelfree run` delivers on small captures of lab rooms: voted labels or network labels.

    python benchmarks/capture_recipe.py --first-seed 900001 --scenes 1 --captures 4 --variants all --out FILE.jsonl
    python benchmarks/capture_recipe.py --first-seed 700 --scenes 1 --captures 10 --out results/capture/run.jsonl
    python benchmarks/capture_recipe.py --first-seed 710 --scenes 4 --captures 5 --out results/capture/run.jsonl

A capture is a group of rooms of one seed. It is trained and evaluated on itself, like a user's own scan. The first
command compares settings on tuning seeds; the other two measure the default recipe. Each line of the output file is
one capture. Run the same command again to add the missing captures. It prints means with paired 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelfree.cli.arguments import with_preset_colours
from labelfree.config.reading import recipe
from labelfree.data.collection import SceneCollection, open_scenes
from labelfree.evaluation.delivery import choose
from labelfree.evaluation.measure import measure
from labelfree.labelling.labellers import NetworkLabels, TeacherLabels
from labelfree.paper_tables.statistics import paired_difference
from labelfree.run import open_run
from labelfree.runtime.devices import make_fabric
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.opening import load_teachers
from labelfree.training.systems import cotrain_run
from labelfree.vocabulary import Vocabulary
from labelfree_lab.rooms.dataset import LabSize, write_lab
from labelfree_lab.shapes.primitives import CLASS_NAMES

BEFORE = (
    "--train.epochs=60",
    "--switch.start_epoch=40",
    "--train.class_balance=0",
    "--networks.backbone_weights_3d=null",
    "--networks.net_3d.texture=false",
    "--networks.net_3d.voxel_m=0.05",
)
"""Settings of recipe `quick` before commit 44dcab6."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "before": BEFORE,
    "half the steps": ("--train.epochs=60", "--switch.start_epoch=40"),
    "twice the steps": ("--train.epochs=240", "--switch.start_epoch=160"),
    "stage one alone": ("--switch.start_epoch=120",),
    "no class weights": ("--train.class_balance=0",),
    "class weights 0.75": ("--train.class_balance=0.75",),
    "no 3D start": ("--networks.backbone_weights_3d=null",),
    "voxels of 0.15 m": ("--networks.net_3d.voxel_m=0.15",),
}
SIDES = ("2D", "3D")
NAMES = with_preset_colours(Vocabulary.from_names(CLASS_NAMES))


def main() -> None:
    """Measure the captures that are missing and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first-seed", type=int, required=True, help="seed of the first capture's rooms")
    parser.add_argument("--scenes", type=int, default=1, help="rooms of a capture")
    parser.add_argument("--captures", type=int, default=4, help="captures, each with a seed of its own")
    parser.add_argument("--variants", default="default", help="'all', or names of settings separated by commas")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines")
    parser.add_argument("--work", type=Path, default=Path("runs/capture"), help="rooms and teacher outputs")
    options = parser.parse_args()
    variants = list(VARIANTS) if options.variants == "all" else options.variants.split(",")
    seeds = range(options.first_seed, options.first_seed + options.captures)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for variant in variants:
        for seed in seeds:
            if not any(_is(row, seed, options.scenes, variant) for row in _read(options.out)):
                row = {"seed": seed, "scenes": options.scenes, "variant": variant}
                row |= measured(_rooms(options.work, seed, options.scenes), variant, options.work / "cache")
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        rows = [row for row in _read(options.out) if row["variant"] == variant and row["scenes"] == options.scenes]
        print(summary(variant, [row for row in rows if row["seed"] in seeds]), flush=True)


def measured(scenes: SceneCollection, variant: str, cache: Path) -> dict[str, Any]:
    """Return the mIoU of a capture in percent, 2D and 3D, after the steps of `labelfree run`."""
    config = recipe("quick", *VARIANTS[variant])
    fabric = make_fabric("cpu", precision=config.train.precision)
    teachers = load_teachers(config, NAMES, cache, fabric.device)
    label_frames(scenes, teachers, fabric.device)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        networks = NetworkLabels(*cotrain_run(open_run(scenes, NAMES, config, out, teachers, fabric).begin()))
    seconds = time.monotonic() - started
    clip = TeacherLabels(teachers, voted=False)
    voted = replace(clip, voted=True)
    delivery = choose(voted, networks, scenes, NAMES)
    reached = {method.name: method.modalities() for method in measure(scenes, (clip, voted, networks), NAMES)}
    numbers = {name: [round(100 * side.miou, 2) for _, side in sides] for name, sides in reached.items()}
    return {**numbers, "seconds": round(seconds, 1), **delivery.to_dict(NAMES)}


def summary(variant: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return means and paired differences to the voted labels."""
    lines = [f"{variant}, {len(rows)} captures of {rows[0]['scenes']} room(s)"]
    for place, side in enumerate(SIDES):
        voted = [row["clip+sam"][place] for row in rows]
        for name in ("cns", "delivered"):
            own = [row[row["delivered"] if name == "delivered" else name][place] for row in rows]
            difference = paired_difference(own, voted)
            if difference is None:
                continue
            reach = "" if difference.interval is None else f" ± {difference.interval.high - difference.mean:.1f}"
            lines.append(
                f"  {side} {name}: {sum(own) / len(own):.1f}, clip+sam {sum(voted) / len(voted):.1f}, "
                f"difference {difference.mean:+.1f}{reach}"
            )
    networks = sum(row["delivered"] == "cns" for row in rows)
    return "\n".join([*lines, f"  the networks were delivered for {networks} of {len(rows)}"])


def _rooms(work: Path, seed: int, scenes: int) -> SceneCollection:
    size = replace(LabSize(), train_rooms=scenes, held_out_rooms=1)
    return open_scenes(write_lab(work / f"rooms-{seed}-{scenes}", seed, size).train)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def _is(row: dict[str, Any], seed: int, scenes: int, variant: str) -> bool:
    return (row["seed"], row["scenes"], row["variant"]) == (seed, scenes, variant)


if __name__ == "__main__":
    main()
