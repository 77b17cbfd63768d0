"""`labelfree table 1|2|3|4`: measure a table of the paper over several seeds, with confidence intervals."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labelfree.cli.arguments import command_line, told, vocabulary
from labelfree.cli.engines import RayEngine, add_engine, check_engine, driver_device, ray_engine
from labelfree.cli.failures import sentence
from labelfree.cli.out_folder import check_out
from labelfree.cli.preflight import check_extras, check_lab_starts, check_teachers
from labelfree.cli.terminal import say
from labelfree.config.recipe_files import recipe_path
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree.files.leftovers import remove_leftovers
from labelfree.files.outputs import OutputFolder
from labelfree.paper_tables.data import Captures, TableData
from labelfree.paper_tables.render import COLUMNS, table_json, table_markdown, worlds_markdown
from labelfree.paper_tables.row_runner import RowRunner
from labelfree.paper_tables.rows import LOSSES, TABLES, PaperTable, Row, paper_table
from labelfree.paper_tables.run_result import Measures
from labelfree.paper_tables.schedule import (
    Job,
    Run,
    Schedule,
    carry_out,
    finished,
    recipe_world,
    row_settings,
    seconds_left,
)
from labelfree.paper_tables.spread_runs import Claim, DeviceWorkers, Failure, RunWork, spread_runs
from labelfree.paper_tables.summary import TableRuns, table_runs
from labelfree.results.environment import PACKAGE, git_revision
from labelfree.runtime.crew import Crew
from labelfree.runtime.devices import pick_devices
from labelfree.runtime.lab import lab_module, second_teachers
from labelfree.runtime.progress import duration
from labelfree.runtime.surroundings import surroundings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the table, the data, the seeds, the output folder and the engine."""
    parser.add_argument(
        "number",
        type=int,
        choices=tuple(table.number for table in TABLES),
        help="1: comparison of systems, 2: ablation, 3: initial weights, 4: segments and consensus",
    )
    parser.add_argument(
        "--world",
        default=None,
        help="recipe: rooms, clean, streets, several (rooms,streets), scannet, nuscenes, or a YAML file "
        "(default: rooms,streets for table 1, rooms for the others and with --data)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        help="number of seeds; a seed selects the lab's scenes and all random choices (default: 5)",
    )
    parser.add_argument("--first-seed", type=int, default=1, help="first seed (default: 1)")
    parser.add_argument(
        "--rows",
        default=None,
        help="comma-separated rows to run; NAME:3 runs and counts only the first 3 seeds of a row (default: all)",
    )
    parser.add_argument(
        "--loss",
        choices=LOSSES,
        default="lab",
        help="lab: the recipe's loss; paper: Eq. 5-7 as printed, without class weights, switch.align and averaged "
        "weights, in tableN-paper.json (default: lab)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder of runs and tables (default: runs/tables-WORLD); a second world goes to OUT/WORLD",
    )
    parser.add_argument(
        "--teachers",
        choices=("one", "both"),
        default=None,
        help="the lab's pairs of teachers: one, or both, where even seeds have the second pair (default: both if there "
        "is a second pair)",
    )
    _add_data(parser)
    _add_devices(parser)
    add_engine(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    """Add the scenes: those of --data, or the sizes of the lab's world."""
    parser.add_argument("--data", type=Path, default=None, help="training scenes (default: the lab's world)")
    parser.add_argument("--held-out", type=Path, default=None, help="labelled held-out scenes; required with --data")
    parser.add_argument("--split", default=None, help="split of --data (default: all scenes)")
    parser.add_argument("--held-out-split", default=None, help="split of --held-out (default: all scenes)")
    parser.add_argument("--classes", default=None, help="comma-separated names, preset or vocabulary file, with --data")
    parser.add_argument("--rooms", type=int, default=None, help="training rooms, or drives, of the lab (default: 48)")
    parser.add_argument(
        "--held-out-rooms", type=int, default=None, help="held-out rooms (default: 20) or drives (24) of the lab"
    )
    parser.add_argument(
        "--views", type=int, default=None, help="images of a room (default: 4), or key frames of a training drive (2)"
    )


def _add_devices(parser: argparse.ArgumentParser) -> None:
    """Add the cache and the devices."""
    parser.add_argument("--cache", type=Path, default=None, help="folder of teacher outputs (default: OUT/cache)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--devices",
        default=None,
        help="instead of --device: comma-separated devices, such as cuda:0,cuda:1, or all (every GPU); each has a "
        "process that carries out whole runs",
    )


@dataclass(frozen=True)
class Plan:
    """The rows, seeds and data to run in one world."""

    world: str
    rows: tuple[Row, ...]
    counts: dict[str, int]
    """Number of the first seeds of each row that does not have all of them."""
    seeds: tuple[int, ...]
    data: TableData
    schedule: Schedule
    cache: Path

    def table_runs(self, table: PaperTable) -> TableRuns:
        """Return the finished runs of a table."""
        return table_runs(table, self.world, self.schedule, self.seeds, self.counts)


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Run what is missing, write the table after each run and print it; the same command resumes."""
    table = paper_table(options.number)
    check_engine(options)
    devices = _devices(options)
    with ray_engine(options) as engine:
        plans = [_plan(options, table, world, out, overrides) for world, out in _worlds(options)]
        for plan in plans:
            _check(plan)
            stem = _stem(table, plan.schedule)
            worlds = [stem.with_name(f"{stem.name}-worlds.md")] if len(plans) > 1 and plan is plans[0] else []
            OutputFolder(plan.schedule.out).claim([stem.with_suffix(".json"), stem.with_suffix(".md"), *worlds])
        failures = [failure for plan in plans for failure in _carry_out(plan, table, options.device, devices, engine)]
    print(_page(plans, table))
    for failure in failures:
        say(f"seed {failure.job.seed} {failure.job.row} failed: {failure.cause}")
    if failures:
        raise InputError(f"{len(failures)} run(s) failed: fix the causes and run the same command again to resume.")
    return 0


def _page(plans: Sequence[Plan], table: PaperTable) -> str:
    """Write the tables of all worlds; return the page that is printed."""
    pages = [write_table(table, plan) for plan in plans]
    if len(plans) == 1:
        return pages[0]
    runs = [plan.table_runs(table) for plan in plans]
    page = worlds_markdown(runs, command_line())
    stem = _stem(table, plans[0].schedule)
    write_text(stem.with_name(f"{stem.name}-worlds.md"), page)
    return page


def _devices(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the devices of --devices; empty for one process. Raises an InputError for a device that is missing."""
    if options.devices is None:
        driver_device(options)
        return ()
    if options.engine == "ray" or options.device != "auto":
        raise InputError(f"--devices is {options.devices}: leave out --device and --engine ray, which also choose one.")
    return pick_devices(options.devices)


def _plan(options: argparse.Namespace, table: PaperTable, world: str, out: Path, overrides: Sequence[str]) -> Plan:
    rows, counts = _rows(options, table)
    seeds, recipe, cache = _seeds(options), recipe_path(world), Path(options.cache or out / "cache")
    data = _data(options, world, out, cache)
    settings = row_settings(recipe, overrides, options.loss)
    if any(row.overlay not in settings for row in table.rows):
        raise InputError(f"Table {table.number} has no rows for --world {world}: give rooms, clean or streets.")
    schedule = Schedule(settings, data.identity, out, options.loss, data.teachers)
    return Plan(world, rows, counts, seeds, data, schedule, cache)


def _rows(options: argparse.Namespace, table: PaperTable) -> tuple[tuple[Row, ...], dict[str, int]]:
    """Return the rows of --rows and the number of seeds of those that name one."""
    rows, counts = [], {}
    for given in options.rows.split(",") if options.rows else [row.name for row in table.rows]:
        name, colon, count = given.strip().partition(":")
        rows.append(table.row(name))
        if colon:
            if not count.isdecimal() or not 1 <= int(count) <= options.seeds:
                raise InputError(f"--rows has '{given.strip()}': give a number of seeds from 1 to --seeds.")
            counts[name] = int(count)
    return tuple(rows), counts


def _check(plan: Plan) -> None:
    """Raise an InputError before the first run for what would stop a later one."""
    check_out(plan.schedule.out)
    check_out(plan.cache, what="--cache")
    for config in (plan.schedule.config(row, seed) for row in plan.rows for seed in plan.seeds[:2]):  # both pairs
        check_extras(config)
        check_teachers(config)
        check_lab_starts(config)


def _carry_out(
    plan: Plan, table: PaperTable, device: str, devices: Sequence[str], engine: RayEngine | None
) -> list[Failure]:
    """Run the missing runs of a world; return the failed ones of several workers."""
    remove_leftovers(plan.schedule.out)
    jobs = plan.schedule.jobs(plan.rows, plan.seeds, table.row(table.full), plan.counts)
    commit, workers = git_revision(PACKAGE), len(devices) if engine is None else engine.workers

    def begins(job: Job) -> None:
        say(f"{_place(job, jobs)} begins")

    def report(job: Job) -> None:
        _report(job, jobs, lambda: write_table(table, plan), max(1, workers))

    if not workers:
        carry_out(jobs, _announced(RowRunner(plan.data, plan.cache, device), begins), commit, report)
        return []
    with surroundings(plan.cache) as around:
        device = device if engine is None else engine.device
        work = RunWork(plan.data, plan.cache, device, commit, around, RowRunner)
        crew: Crew[Claim] = (
            Crew(DeviceWorkers(work, devices, sentence).hire, workers) if engine is None else engine.crew(work)
        )
        return spread_runs(jobs, crew, begins, report)


def write_table(table: PaperTable, plan: Plan) -> str:
    """Write `OUT/tableN.json` and `.md`, or `tableN-paper`, from the finished runs; return the Markdown."""
    runs, command = plan.table_runs(table), command_line()
    stem = _stem(table, plan.schedule)
    page = table_markdown(runs, command)
    write_text(stem.with_suffix(".json"), json.dumps(table_json(runs, command), indent=1, allow_nan=False) + "\n")
    write_text(stem.with_suffix(".md"), page)
    return page


def _stem(table: PaperTable, schedule: Schedule) -> Path:
    """Return the path of a table's files without their suffix."""
    return schedule.out / f"table{table.number}{schedule.version}"


def _seeds(options: argparse.Namespace) -> tuple[int, ...]:
    if options.seeds < 1 or options.first_seed < 0:
        raise InputError(f"--seeds is {options.seeds} and --first-seed {options.first_seed}: give at least 1 and 0.")
    return tuple(range(options.first_seed, options.first_seed + options.seeds))


def _worlds(options: argparse.Namespace) -> list[tuple[str, Path]]:
    """Return each world with the folder of its runs; every world after the first has a subfolder."""
    own = "rooms,streets" if options.number == 1 and options.data is None else "rooms"
    worlds = [world.strip() for world in (options.world or own).split(",")]
    out = Path(options.out or f"runs/tables-{Path(worlds[0]).stem}")
    if len(worlds) == 1:
        return [(worlds[0], out)]
    if options.data is not None or len(set(worlds)) < len(worlds) or not set(worlds) <= set(COLUMNS):
        raise InputError(
            f"--world {','.join(worlds)}: only the lab's {', '.join(COLUMNS)} can be combined, without --data."
        )
    return [(world, out if place == 0 else out / world) for place, world in enumerate(worlds)]


def _data(options: argparse.Namespace, world: str, out: Path, cache: Path) -> TableData:
    """Return the lab's rooms or streets, or the scenes of --data and --held-out."""
    if options.data is not None:
        return _captures(options, cache / "clouds")
    sizes = (options.rooms, options.held_out_rooms, options.views)
    lab, name = lab_module("tables", f"--world {world}"), recipe_world(Path(world))
    wanted = None if options.teachers is None else options.teachers == "both"
    second = None if name is None else second_teachers(name, wanted)
    data: TableData | None = lab.open_world(Path(world).stem, out / "data", *sizes, second)
    if data is None:
        raise InputError(f"--world {world} needs scenes: give --data DIR and --held-out DIR.")
    return data


def _captures(options: argparse.Namespace, clouds: Path) -> Captures:
    if options.held_out is None:
        raise InputError("--data needs --held-out DIR, labelled scenes that are not trained on.")
    wanted = ((options.data, options.split), (options.held_out, options.held_out_split))
    train, held_out = (open_scenes(path, options=ReadOptions(split=split, cache_dir=clouds)) for path, split in wanted)
    names = vocabulary(options, train)
    places = (f"{path.resolve()} {split}" for path, split in wanted)
    identity = f"{' '.join(places)} {', '.join(names.names)}"
    return Captures(train, told(held_out.counted_by(names)), names, identity)


def _announced(run: Run, begins: Callable[[Job], None]) -> Run:
    """Return `run` with a message at the start of each run."""

    def announced(job: Job) -> Measures:
        begins(job)
        return run(job)

    return announced


def _report(job: Job, jobs: Sequence[Job], write: Callable[[], str], workers: int = 1) -> None:
    """Print a run's mIoU in percent and the time left; write the table again."""
    done = [result for each in jobs if (result := finished(each)) is not None]
    reached = next((r.measures for r in done if (r.row, r.seed) == (job.row, job.seed)), None)
    if reached is None:  # written by another machine, and this one does not see it yet
        return
    left = (seconds_left([each for each in jobs if finished(each) is None], done) or 0.0) / workers
    sides = [f"{name} {value:.1f}" for name, value in (("2D", reached.miou_2d), ("3D", reached.miou_3d)) if value]
    say(f"{_place(job, jobs)}: {', '.join(sides)} in {duration(reached.seconds)}; about {duration(left)} left")
    write()


def _place(job: Job, jobs: Sequence[Job]) -> str:
    return f"[{jobs.index(job) + 1}/{len(jobs)}] seed {job.seed} {job.row}"
