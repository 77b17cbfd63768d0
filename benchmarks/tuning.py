"""Tune every trained system of Table 1 on tuning seeds, with the same number of runs, by coordinate search.

    python benchmarks/tuning.py --world rooms --out runs/tuning/rooms

Each system starts from the recipe. One setting after another takes each value of its grid, the others keep their best
values, and the value with the highest score stays. The score is the mean over seeds of the mean of mIoU in 2D and 3D,
of the modalities that a system has. `results/tuning/WORLD.json` records every configuration in the order of the search,
and `paper_tables/tuned/WORLD/SYSTEM.yaml` the choice, which the rows of the tables then use.

Run the same command again to resume. Several processes can share the runs of one --out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.config.run_config import RunConfig
from labelfree.files.atomic import write_text
from labelfree.paper_tables.data import TableData
from labelfree.paper_tables.row_runner import RowRunner
from labelfree.paper_tables.rows import SYSTEMS, TABLE_1, TUNED_DIR
from labelfree.paper_tables.run_result import Measures
from labelfree.paper_tables.schedule import Run, Schedule, carry_out, finished, recipe_world
from labelfree.results.environment import PACKAGE, git_revision
from labelfree.runtime.lab import second_teachers
from labelfree_lab.tables import open_world

ROOT = Path(__file__).parents[1]
TUNING_SEEDS = (900001, 900002, 900003)
CLASS_BALANCE = (0.0, 0.25, 0.5, 0.75)
RATES = (0.5, 1.0, 2.0)
START_EPOCHS = (0.5, 1.0, 2.0)
"""Start of stage two, relative to that of the recipe."""
RATES_OPENSCENE = (0.25, 0.5, 1.0, 2.0, 4.0)
BACKBONE_RATES = (0.2, 0.5, 1.0, 4.0, 20.0)
"""Grids of OpenScene, which has no class weights and no labels of its own: as many values as the others' in all."""

Changes = Mapping[str, Any]
"""Settings by dotted name, with their values."""


@dataclass(frozen=True)
class Coordinate:
    """A setting, or settings that change together, with the values that are tried."""

    name: str
    options: tuple[Changes, ...]
    start: int
    """Place of the option that equals the recipe, or is nearest to it."""


@dataclass(frozen=True)
class Trial:
    """A configuration with its measures for each seed."""

    changes: Changes
    measures: tuple[Measures, ...]

    @property
    def score(self) -> float:
        """Return the mean over seeds of the mean over modalities of mIoU, in percent."""
        scores = [_mean([m for m in (each.miou_2d, each.miou_3d) if m is not None]) for each in self.measures]
        return _mean(scores)


@dataclass(frozen=True)
class Search:
    """A finished search: the trials in their order, and for each coordinate what was compared and chosen."""

    trials: tuple[Trial, ...]
    steps: tuple[tuple[Coordinate, tuple[Trial, ...], Trial], ...]

    @property
    def choice(self) -> Trial:
        """Return the best trial of the last coordinate."""
        return self.steps[-1][2]


def grid(system: str, recipe: RunConfig) -> tuple[Coordinate, ...]:
    """Return the coordinates of a system around the settings of a recipe, in the order of the search."""
    train, start = recipe.train, recipe.switch.start_epoch

    def rates(factors: Sequence[float]) -> Coordinate:
        both = {"train.learning_rate": train.rate_of("2d"), "train.learning_rate_3d": train.rate_of("3d")}
        options = tuple({name: rate * factor for name, rate in both.items()} for factor in factors)
        return Coordinate("learning rates", options, factors.index(1.0))

    if system == "openscene":
        backbone = tuple({"train.backbone_rate": train.backbone_rate * factor} for factor in BACKBONE_RATES)
        return rates(RATES_OPENSCENE), Coordinate("train.backbone_rate", backbone, BACKBONE_RATES.index(1.0))
    nearest = min(range(len(CLASS_BALANCE)), key=lambda place: abs(CLASS_BALANCE[place] - train.class_balance))
    starts = tuple({"switch.start_epoch": max(1, round(start * factor))} for factor in START_EPOCHS)
    return (
        Coordinate("train.class_balance", tuple({"train.class_balance": power} for power in CLASS_BALANCE), nearest),
        Coordinate("switch.align", ({"switch.align": False}, {"switch.align": True}), int(recipe.switch.align)),
        rates(RATES),
        Coordinate("switch.start_epoch", starts, START_EPOCHS.index(1.0)),
    )


def coordinate_search(
    coordinates: Sequence[Coordinate], measure: Callable[[Sequence[Changes]], Sequence[Trial]]
) -> Search:
    """Return the search over the coordinates, one after another; of equal scores the earlier choice stays.

    `measure` returns one trial for each of several configurations, which can run side by side.
    """
    places = [coordinate.start for coordinate in coordinates]
    known: dict[tuple[int, ...], Trial] = {}
    steps = []
    for index, coordinate in enumerate(coordinates):
        line = [(*places[:index], place, *places[index + 1 :]) for place in range(len(coordinate.options))]
        line.sort(key=lambda found: found[index] != places[index])  # the choice so far comes first
        new = [found for found in line if found not in known]
        known |= zip(new, measure([_joined(coordinates, found) for found in new]))
        best = max(line, key=lambda found: known[found].score)
        steps.append((coordinate, tuple(known[found] for found in sorted(line)), known[best]))
        places = list(best)
    return Search(tuple(known.values()), tuple(steps))


def runs_of(coordinates: Sequence[Coordinate], seeds: Sequence[int]) -> int:
    """Return the number of runs of a search, which does not depend on the scores."""
    return len(seeds) * (1 + sum(len(coordinate.options) - 1 for coordinate in coordinates))


def tune(
    system: str, recipe: Path, data: TableData, seeds: Sequence[int], out: Path, run: Run, overrides: Sequence[str] = ()
) -> Search:
    """Return the search of a system; finished runs in `out` are not repeated."""
    row, world = TABLE_1.row(system), recipe_world(recipe)

    def schedule(changes: Changes) -> Schedule:
        given = [*overrides, *(f"--{name}={json.dumps(value)}" for name, value in changes.items())]
        config = read_settings(recipe, given, (row.path(world),))
        return Schedule({row.overlay: config}, data.identity, out / system / _name(changes), teachers=data.teachers)

    def measure(all_changes: Sequence[Changes]) -> list[Trial]:
        jobs = [schedule(changes).jobs([row], seeds, row) for changes in all_changes]
        by_seed = sorted((job for of_trial in jobs for job in of_trial), key=lambda job: job.seed)  # share the scenes
        carry_out(by_seed, run, git_revision(PACKAGE))
        results = [[result.measures for job in of_trial if (result := finished(job))] for of_trial in jobs]
        return [Trial(changes, tuple(found)) for changes, found in zip(all_changes, results)]

    return coordinate_search(grid(system, read_settings(recipe, overrides)), measure)


def search_json(search: Search, seeds: Sequence[int]) -> dict[str, Any]:
    """Return plain data of a search for the record."""
    return {
        "runs": sum(len(trial.measures) for trial in search.trials),
        "choice": dict(search.choice.changes),
        "score": round(search.choice.score, 3),
        "trials": [
            {
                "settings": dict(trial.changes),
                "miou_2d_3d": {str(s): [m.miou_2d, m.miou_3d] for s, m in zip(seeds, trial.measures)},
                "score": round(trial.score, 3),
            }
            for trial in search.trials
        ],
        "steps": [
            {
                "setting": coordinate.name,
                "options": [dict(option) for option in coordinate.options],
                "scores": [round(trial.score, 3) for trial in compared],
                "chosen": {name: chosen.changes[name] for name in coordinate.options[0]},
            }
            for coordinate, compared, chosen in search.steps
        ],
    }


def overlay_yaml(changes: Changes, record: str) -> str:
    """Return the chosen settings as an overlay."""
    tree: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        group, _, field = name.partition(".")
        tree.setdefault(group, {})[field] = value
    return f"# Chosen by benchmarks/tuning.py on the tuning seeds; record: {record}\n" + yaml.safe_dump(tree)


def _joined(coordinates: Sequence[Coordinate], places: Sequence[int]) -> dict[str, Any]:
    return {
        name: value
        for coordinate, place in zip(coordinates, places)
        for name, value in coordinate.options[place].items()
    }


def _name(changes: Changes) -> str:
    """Return a folder name of a configuration, such as `class_balance-0.5,align-True`."""
    return ",".join(f"{name.rpartition('.')[2]}-{value}" for name, value in changes.items())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=("rooms", "streets"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="runs, scenes and cache")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated (default: all)")
    parser.add_argument("--seeds", default=",".join(map(str, TUNING_SEEDS)), help="comma-separated tuning seeds")
    parser.add_argument("--record", type=Path, default=None, help="default: results/tuning/WORLD.json")
    parser.add_argument("--tuned", type=Path, default=TUNED_DIR, help="folder of the overlays of the choices")
    parser.add_argument("--device", default="auto")
    options, overrides = parser.parse_known_args()
    seeds, recipe = [int(seed) for seed in options.seeds.split(",")], recipe_path(options.world)
    record = options.record or ROOT / "results" / "tuning" / f"{options.world}.json"
    data = open_world(options.world, options.out / "data", None, None, None, second_teachers(options.world))
    if data is None:
        raise TypeError(f"{options.world} is no world of the lab")
    run = RowRunner(data, options.out / "cache", options.device)
    for system in options.systems.split(","):
        count = runs_of(grid(system, read_settings(recipe, overrides)), seeds)
        print(f"{system}: {count} runs", flush=True)
        search = tune(system, recipe, data, seeds, options.out / "trials", run, overrides)
        # Read again: another process may have added its systems meanwhile
        found = json.loads(record.read_text(encoding="utf-8"))["systems"] if record.is_file() else {}
        found[system] = search_json(search, seeds)
        command = " ".join(["python benchmarks/tuning.py", *sys.argv[1:]])
        page = {"command": command, "seeds": seeds, "unit": "percent", "systems": found}
        write_text(record, json.dumps(page, indent=1) + "\n")
        overlay = overlay_yaml(search.choice.changes, f"results/tuning/{record.name}")
        write_text(options.tuned / options.world / f"{system}.yaml", overlay)
        print(f"{system}: {search.choice.score:.2f} with {dict(search.choice.changes)}", flush=True)


if __name__ == "__main__":
    main()
