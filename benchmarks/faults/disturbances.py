"""Kill commands at a random moment, fill their disk, and run two at once in one folder."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from benchmarks.faults.cases import Bench, Case
from benchmarks.faults.forks import Limits, Outcome, Stop, finish, run, start
from benchmarks.faults.golden import DISTURBED, environment
from benchmarks.faults.verdict import (
    DIFFERENCE,
    LEFTOVER,
    Verdict,
    difference,
    judge,
    repeated_steps,
    results,
    temporaries,
)

Rng = np.random.Generator
KILLED_BY = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
AGAIN_SHARE = 0.3
"""Share of killed commands that are killed a second time when repeated."""
REAL_EVERY = 6
"""After this many kills of a fork, one kill of a new interpreter follows."""
IMPORT_SECONDS = 6.0
EARLIEST_SECONDS = 0.1
"""Before this time the command may not have started, and nothing handles a signal."""
SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Disk:
    """A folder on a file system with limited space."""

    folder: Path
    mounted: bool

    def grow(self) -> None:
        """Enlarge the file system."""
        if self.mounted:
            _mount("-o", f"remount,size={SPARE_BYTES}", str(self.folder))


def kill_case(bench: Bench, identity: str, random: Rng) -> tuple[Case, Verdict]:
    """Kill a command and repeat it to its end; the results must be those of an undisturbed command."""
    number = int(identity.rpartition("-")[2])
    verbs = bench.verbs
    verb, by = verbs[number % len(verbs)], KILLED_BY[number // len(verbs) % len(KILLED_BY)]
    real = number % (REAL_EVERY + 1) == REAL_EVERY
    case = _lay_out(bench, identity, verb, f"kill {by.name}")
    seconds = bench.golden.seconds[verb]
    times = [
        float(random.uniform(EARLIEST_SECONDS, EARLIEST_SECONDS + seconds))
        for _ in range(2 if random.random() < AGAIN_SHARE else 1)
    ]
    case.damage = " and ".join(f"{by.name} after {time:.3f} of {seconds:.3f} s" for time in times)
    if real:  # the package cannot handle signals while Python imports it
        case.damage += " and the imports, in a new interpreter"
        times = [time + IMPORT_SECONDS for time in times]
    for time in times:
        found = judge(bench.run(case, stop=Stop(by, time), real=real), bench.limits, bench.golden.last_lines[verb])
        if not found.sound:
            return case, found
    return case, _repeated(bench, case, verb)


def disk_case(bench: Bench, identity: str, random: Rng) -> tuple[Case, Verdict]:
    """Run a command on a disk that fills up, enlarge the disk and repeat the command."""
    verb = bench.verbs[int(identity.rpartition("-")[2]) % len(bench.verbs)]
    case = _lay_out(bench, identity, verb, "disk")
    size = int(bench.golden.sizes[verb] * random.uniform(0.02, 0.95)) // 4096 * 4096 + 4096
    with _small_disk(case.folder / "out", size) as disk:
        case.damage = f"{size} bytes of {bench.golden.sizes[verb]}, {'tmpfs' if disk.mounted else 'RLIMIT_FSIZE'}"
        limits = bench.limits if disk.mounted else replace(bench.limits, file_bytes=min(size, 100_000))
        if verb == "predict":
            _restore_network(bench, case)
        found = judge(_run(bench, case, limits), bench.limits)
        if not found.sound:
            return case, found
        if left := temporaries(case.folder):
            return case, Verdict(LEFTOVER, f"{left[0]} after the disk was full")
        disk.grow()
        return case, _repeated(bench, case, verb)


def writers_case(bench: Bench, identity: str, random: Rng) -> tuple[Case, Verdict]:
    """Start a command twice at once on one folder: each succeeds or is refused; the results are those of one."""
    verb = bench.verbs[int(identity.rpartition("-")[2]) % len(bench.verbs)]
    case = _lay_out(bench, identity, verb, "writers")
    case.damage = "two at once"
    limits = replace(bench.limits, idle_seconds=bench.limits.wall_seconds)  # one command may wait for the other
    both = [start(case.command, case.folder, limits, environment=environment(case.folder)) for _ in range(2)]
    found = [judge(finish(running), limits) for running in both]
    wrong = next((verdict for verdict in found if not verdict.sound), None)
    if wrong is not None:
        return case, wrong
    if all(verdict.kind == "refused" for verdict in found):
        return case, Verdict(DIFFERENCE, "both of two writers were refused")
    return case, _compared(bench, case, verb, found[0])


def _lay_out(bench: Bench, identity: str, verb: str, group: str) -> Case:
    state = DISTURBED[verb]
    root = bench.work / identity
    folder = bench.golden.lay_out(root, state.inputs, state.network)
    return Case(identity, f"{group} {verb}", folder, root, state.command)


def _restore_network(bench: Bench, case: Case) -> None:
    """Copy the network again, because the small disk is mounted over it."""
    import shutil

    shutil.copytree(bench.golden.folder / "nets" / "room", case.folder / "in" / "net", dirs_exist_ok=True)
    case.command = tuple("in/net" if word == "out/net" else word for word in case.command)


def _run(bench: Bench, case: Case, limits: Limits) -> Outcome:
    return run(case.command, case.folder, limits, environment=environment(case.folder))


def _repeated(bench: Bench, case: Case, verb: str) -> Verdict:
    """Repeat a command to its end and compare its results."""
    found = judge(bench.run(case), bench.limits)
    if not found.sound:
        return found
    if found.kind != "completed":
        return Verdict(DIFFERENCE, f"the repeated command is refused: {found.message}")
    return _compared(bench, case, verb, found)


def _compared(bench: Bench, case: Case, verb: str, found: Verdict) -> Verdict:
    expected = {name: text for name, text in bench.golden.expected[verb].items() if not name.startswith("net/")}
    if wrong := difference(expected, results(case.folder / "out")):
        return Verdict(DIFFERENCE, wrong)
    if repeated := repeated_steps(case.folder / "out"):
        return Verdict(DIFFERENCE, repeated)
    if left := temporaries(case.folder):
        return Verdict(LEFTOVER, left[0])
    return found


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[Disk]:
    """Mount a small file system at a folder; without permission, the caller limits the file size instead."""
    mounted = os.geteuid() == 0 and _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0
    except OSError:
        return False
