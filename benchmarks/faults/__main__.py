"""Command line of the fault campaign."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a process with threads must not be forked
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.faults import __doc__ as ABOUT
from benchmarks.faults.campaign import (
    Result,
    carry_out,
    carry_out_all,
    counts_table,
    failures,
    failures_text,
    identities,
    write_json,
)
from benchmarks.faults.cases import Bench
from benchmarks.faults.forks import Limits
from benchmarks.faults.golden import DISTURBED, SHORT_STATES, SHORT_VERBS, STATES, build
from benchmarks.faults.verdict import SOUND

TOLD_EVERY_S = 30.0


def main() -> int:
    """Run the campaign; return exit code 1 if a case fails."""
    options = _options()
    work = options.work or Path(tempfile.mkdtemp(prefix="labelfree-faults-"))
    started = time.monotonic()
    names = (
        [options.only] if options.only else identities(options.mutations, options.kills, options.disks, options.writers)
    )
    states = STATES[:SHORT_STATES] if options.short else STATES
    verbs = tuple(DISTURBED)[:SHORT_VERBS] if options.short else tuple(DISTURBED)
    kinds = {name.rpartition("-")[0] for name in names}
    wanted = [state.name for state in states] if "state" in kinds else []
    wanted += verbs if kinds & {"kill", "disk", "writers"} else []
    golden = build(work / "golden", wanted)
    limits = Limits(cpu_seconds=options.time_limit)
    bench = Bench(golden, work / "cases", options.seed, limits, states, verbs)
    print(f"golden state after {time.monotonic() - started:.0f} s in {work}", file=sys.stderr, flush=True)
    if options.only:
        return _one(bench, options.only)
    results = _told(bench, names, options)
    print(counts_table(results))
    print(f"\n{len(failures(results))} distinct failures\n{failures_text(results, _repeat(options))}")
    seconds = time.monotonic() - started
    used = sum(result.cpu_seconds for result in results)
    print(f"\n{len(results)} cases in {seconds:.0f} s with {options.jobs} jobs, {used:.0f} CPU seconds")
    if options.out is not None:
        write_json(options.out, results, options.seed, seconds, options.jobs)
    return 1 if failures(results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutations", type=int, default=400, help="damaged inputs, command lines and state")
    parser.add_argument("--kills", type=int, default=12, help="commands killed by SIGKILL, SIGTERM and SIGINT")
    parser.add_argument("--disks", type=int, default=4, help="commands on a disk that fills up")
    parser.add_argument("--writers", type=int, default=6, help="commands started twice at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="cases at once")
    parser.add_argument("--work", type=Path, default=None, help="folder for everything (default: a new one in /tmp)")
    parser.add_argument("--out", type=Path, default=None, help="JSON with counts and failures")
    parser.add_argument("--short", action="store_true", help="fewer kinds of state and of killed commands: a minute")
    parser.add_argument("--only", default=None, help="repeat one case, such as layout-0123, and keep its files")
    parser.add_argument("--time-limit", type=float, default=60.0, help="CPU seconds of a command; more is a hang")
    return parser.parse_args()


def _repeat(options: argparse.Namespace) -> str:
    """Return the command that repeats a case."""
    return f"python -m benchmarks.faults --seed {options.seed}{' --short' if options.short else ''} --only"


def _told(bench: Bench, names: list[str], options: argparse.Namespace) -> list[Result]:
    """Run the cases, print failures and progress, and write intermediate results."""
    results: list[Result] = []
    told = started = time.monotonic()
    for result in carry_out_all(bench, names, options.jobs):
        results.append(result)
        if result.verdict not in SOUND:
            said = f"{result.identity}: {result.verdict}: {result.group}: {result.damage}: {result.message}"
            print(" ".join(said.split())[:600], file=sys.stderr, flush=True)
        if (now := time.monotonic()) - told > TOLD_EVERY_S:
            told, bad = now, sum(len(found) for found in failures(results).values())
            rate = len(results) / (now - started)
            print(f"{len(results)}/{len(names)}, {rate:.2f} a second, {bad} failures", file=sys.stderr, flush=True)
            if options.out is not None:
                write_json(options.out, results, options.seed, now - started, options.jobs)
    return results


def _one(bench: Bench, name: str) -> int:
    result = carry_out(bench, name, keep=True)
    print(f"{result.identity}: {result.group}\n{result.damage}\nlabelfree {' '.join(result.command)}")
    print(f"{result.verdict}: {result.message}\nfiles are in {bench.work / name}")
    return 0 if result.verdict in {"completed", "refused"} else 1


if __name__ == "__main__":
    sys.exit(main())
