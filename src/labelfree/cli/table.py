"""`labelfree table 1|2`: the paper's tables measured, over several seeds, with their uncertainty."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from labelfree.atomic import write_text
from labelfree.cli.arguments import command_line, told, vocabulary, with_preset_colours
from labelfree.config import recipe_path
from labelfree.data.collection import open_scenes
from labelfree.data.source import ReadOptions
from labelfree.errors import InputError
from labelfree.lab.dataset import LabSize
from labelfree.lab.rooms import CLASS_NAMES
from labelfree.results.environment import PACKAGE, git_revision
from labelfree.results.report import duration
from labelfree.tables.data import Captures, LabRooms, TableData, weights_digest
from labelfree.tables.render import table_json, table_markdown
from labelfree.tables.row_runner import RowRunner
from labelfree.tables.rows import PaperTable, paper_table
from labelfree.tables.run_result import Measures
from labelfree.tables.schedule import Job, Run, Schedule, carry_out, finished, row_settings, seconds_left
from labelfree.tables.summary import table_runs
from labelfree.vocabulary import Vocabulary

Tell = Callable[[str], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which table, on what, how often, where to."""
    parser.add_argument("number", type=int, choices=(1, 2), help="1 compares systems, 2 takes the method apart")
    parser.add_argument("--world", default="lab", help="settings: lab, scannet, or a YAML file")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds: rooms, weights and everything random")
    parser.add_argument("--first-seed", type=int, default=1, help="the first of them")
    parser.add_argument("--rows", default=None, help="comma list: do only the runs of these rows")
    parser.add_argument("--out", type=Path, default=None, help="runs and tables (default: runs/tables-WORLD)")
    parser.add_argument("--data", type=Path, default=None, help="training scenes; the lab builds its own")
    parser.add_argument("--held-out", type=Path, default=None, help="labelled scenes that nothing is trained on")
    parser.add_argument("--split", default=None, help="split of --data, where that is a dataset")
    parser.add_argument("--held-out-split", default=None, help="split of --held-out")
    parser.add_argument("--classes", default=None, help="comma list, preset or vocabulary file, with --data")
    parser.add_argument("--rooms", type=int, default=LabSize.train_rooms, help="training rooms of the lab")
    parser.add_argument("--held-out-rooms", type=int, default=LabSize.held_out_rooms, help="held-out rooms of the lab")
    parser.add_argument("--views", type=int, default=LabSize.train_views, help="images of each room")
    parser.add_argument("--cache", type=Path, default=None, help="teacher outputs (default: OUT/cache)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Do the runs that are missing, write the table after each, print it; repeated, the command goes on."""
    table, out = paper_table(options.number), _out(options)
    rows = [table.row(name.strip()) for name in options.rows.split(",")] if options.rows else list(table.rows)
    seeds, recipe = _seeds(options), recipe_path(options.world)
    data, settings = _data(options, out), row_settings(recipe, overrides)
    whole = settings[table.row(table.full).path]
    schedule = Schedule(settings, f"{data.identity} {weights_digest(whole)}", out)
    jobs = schedule.jobs(rows, seeds, table.row(table.full))

    def write() -> str:
        return write_table(table, options.world, schedule, seeds)

    watched = _watched(RowRunner(data, _cache(options, out), options.device), jobs, _say)
    carry_out(jobs, watched, git_revision(PACKAGE), lambda job: _report(job, jobs, write))
    print(write())
    return 0


def write_table(table: PaperTable, world: str, schedule: Schedule, seeds: Sequence[int]) -> str:
    """Write `OUT/tableN.json` and `.md` of what is done so far; return the Markdown."""
    runs, command = table_runs(table, world, schedule, seeds), command_line()
    stem = schedule.out / f"table{table.number}"
    page = table_markdown(runs, command)
    write_text(stem.with_suffix(".json"), json.dumps(table_json(runs, command), indent=1, allow_nan=False) + "\n")
    write_text(stem.with_suffix(".md"), page)
    return page


def _seeds(options: argparse.Namespace) -> tuple[int, ...]:
    if options.seeds < 1 or options.first_seed < 0:
        raise InputError(f"--seeds is {options.seeds} and --first-seed {options.first_seed}: give 1 and 0 or more.")
    return tuple(range(options.first_seed, options.first_seed + options.seeds))


def _out(options: argparse.Namespace) -> Path:
    return Path(options.out or f"runs/tables-{Path(options.world).stem}")


def _cache(options: argparse.Namespace, out: Path) -> Path:
    return Path(options.cache or out / "cache")


def _data(options: argparse.Namespace, out: Path) -> TableData:
    """Return the lab's rooms, or the captures that --data and --held-out name."""
    if options.data is not None:
        return _captures(options, _cache(options, out) / "clouds")
    if not Path(options.world).stem.startswith("lab"):
        raise InputError(f"--world {options.world} needs scenes: give --data DIR and --held-out DIR.")
    rooms, held_out, views = options.rooms, options.held_out_rooms, options.views
    size = LabSize(train_rooms=rooms, train_views=views, held_out_rooms=held_out, held_out_views=views)
    return LabRooms(out / "data", size, with_preset_colours(Vocabulary.from_names(CLASS_NAMES)))


def _captures(options: argparse.Namespace, clouds: Path) -> Captures:
    if options.held_out is None:
        raise InputError("--data needs --held-out DIR: labelled scenes that nothing is trained on.")
    wanted = ((options.data, options.split), (options.held_out, options.held_out_split))
    train, held_out = (open_scenes(path, options=ReadOptions(split=split, cache_dir=clouds)) for path, split in wanted)
    names = vocabulary(options, train)
    places = (f"{path.resolve()} {split}" for path, split in wanted)
    identity = f"{' '.join(places)} {', '.join(names.names)}"
    return Captures(train, told(held_out.counted_by(names)), names, identity)


def _watched(run: Run, jobs: Sequence[Job], tell: Tell) -> Run:
    """Say which run is about to begin."""

    def announced(job: Job) -> Measures:
        tell(f"{_place(job, jobs)} begins")
        return run(job)

    return announced


def _report(job: Job, jobs: Sequence[Job], write: Callable[[], str]) -> None:
    """Say what a run reached and how long the rest may take; bring the table up to date."""
    done = [result for each in jobs if (result := finished(each)) is not None]
    reached = next(result.measures for result in done if (result.row, result.seed) == (job.row, job.seed))
    left = seconds_left([each for each in jobs if finished(each) is None], done)
    sides = [f"{name} {value:.1f}" for name, value in (("2D", reached.miou_2d), ("3D", reached.miou_3d)) if value]
    _say(f"{_place(job, jobs)}: {', '.join(sides)} in {duration(reached.seconds)}; about {duration(left or 0.0)} left")
    write()


def _place(job: Job, jobs: Sequence[Job]) -> str:
    return f"[{jobs.index(job) + 1}/{len(jobs)}] seed {job.seed} {job.row}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
