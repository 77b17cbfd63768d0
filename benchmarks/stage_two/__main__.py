"""Continue one stage one (Eq. 5) through variants of stage two (Eq. 6) and measure what each does to rare classes.

    python -m benchmarks.stage_two --world clean --first-seed 900001 --out runs/stage-two
    python -m benchmarks.stage_two --world clean --variants clip,paper --out runs/small --rooms 3 --train.epochs=3 \
        --switch.start_epoch=1

Stage one is trained once per seed and kind of given labels, up to `switch.start_epoch`. Each variant continues its
weights and its optimiser's state through the same batches. All are measured on held-out scenes: mIoU, accuracy, IoU of
each class, and the share of the two classes that are most frequent in the ground truth. The label sources of stage two
are measured at the pairs of 24 training scenes. `--loss paper` (default) is Eq. 5-7 as printed: no class weights, no
`switch.align`, no averaged weights. Any setting of the recipe can be given as `--a.b=c`.

`OUT/stage_two.json` and `OUT/stage_two.md` are written after each variant. Run the same command again to resume; it
goes on at the last finished epoch. Variants are listed in `variants.py`; `symmetric` and `truth` need ground truth of
training images, which world streets does not have. All seeds have the recipe's teachers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.stage_two.experiment import Entry, SeedWork
from benchmarks.stage_two.report import page, results_json
from benchmarks.stage_two.variants import VARIANTS, Variant, chosen_variants

from labelfree.config.reading import plain_data, read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.config.run_config import RunConfig
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.paper_tables.rows import LOSS_OVERLAYS, LOSSES
from labelfree.results.environment import PACKAGE, git_revision
from labelfree.runtime.devices import make_fabric
from labelfree.runtime.lab import WORLDS
from labelfree_lab.tables import open_world


def epochs_to_measure(config: RunConfig, asked: str | None) -> tuple[int, ...]:
    """Return the numbers of epochs in ascending order; by default 1 and 3 epochs into stage two, and the last one."""
    start, last = config.switch.start_epoch, config.train.epochs
    if asked is None:
        return tuple(sorted({min(start + 1, last), min(start + 3, last), last}))
    epochs = tuple(sorted({int(each) for each in asked.split(",")}))
    if epochs[0] <= start or epochs[-1] > last:
        raise InputError(f"--after is {asked}: give numbers above switch.start_epoch ({start}) and up to {last}.")
    return epochs


def check(world: str, variants: Sequence[Variant], config: RunConfig) -> None:
    """Raise an `InputError` if the variants cannot run with these settings."""
    if world == "streets" and any(variant.given != "clip" for variant in variants):
        raise InputError("World streets has no ground truth of training images: leave out symmetric and truth.")
    if not 1 <= config.switch.start_epoch < config.train.epochs:
        raise InputError(
            f"switch.start_epoch is {config.switch.start_epoch}: give 1 to {config.train.epochs - 1}, so that both "
            "stages have epochs."
        )


def arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=WORLDS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="scenes, cache, trainings and results")
    parser.add_argument("--first-seed", type=int, default=900001)
    parser.add_argument("--seeds", type=int, default=1)
    names = ",".join(variant.name for variant in VARIANTS)
    parser.add_argument("--variants", default=names, help=f"comma-separated; default: {names}")
    parser.add_argument("--after", help="numbers of epochs after which to measure, comma-separated")
    parser.add_argument("--loss", choices=LOSSES, default="paper")
    parser.add_argument("--rooms", type=int, help="training rooms or drives (default: those of the tables)")
    parser.add_argument("--held-out", type=int, help="held-out rooms or drives (default: those of the tables)")
    return parser.parse_known_args()


def main() -> None:
    options, overrides = arguments()
    variants = chosen_variants(options.variants)
    config = read_settings(recipe_path(options.world), overrides, LOSS_OVERLAYS[options.loss])
    check(options.world, variants, config)
    epochs = epochs_to_measure(config, options.after)
    data = open_world(options.world, options.out / "data", options.rooms, options.held_out, None)
    if data is None:
        raise TypeError(f"{options.world} is no world of the lab")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    head = {
        "command": " ".join(["python -m benchmarks.stage_two", *sys.argv[1:]]),
        "commit": git_revision(PACKAGE),
        "world": options.world,
        "loss": options.loss,
        "seeds": list(seeds),
        "scenes": data.identity,
        "settings": plain_data(asdict(config)),
        "variants": [plain_data(asdict(variant)) for variant in variants],
    }
    found: dict[str, dict[int, list[Entry]]] = {}
    fabric = make_fabric("cpu", precision=config.train.precision)
    for seed in seeds:
        work = SeedWork(data, config, seed, options.out / options.loss / options.world, fabric)
        for variant in variants:
            found.setdefault(variant.name, {})[seed] = work.variant(variant, epochs)
            write(options.out, head, found)
    print(page(head, found))


def write(out: Path, head: dict[str, Any], found: dict[str, dict[int, list[Entry]]]) -> None:
    """Write the results so far."""
    write_text(out / "stage_two.json", json.dumps(results_json(head, found), indent=1) + "\n")
    write_text(out / "stage_two.md", page(head, found))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
