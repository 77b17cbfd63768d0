"""Run many cases in parallel, count their verdicts and report each distinct failure once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.faults.cases import Bench, Case, layout_case, make_readable, option_case, state_case
from benchmarks.faults.disturbances import disk_case, kill_case, writers_case
from benchmarks.faults.verdict import SOUND, VERDICTS, Verdict, normalised

KINDS: dict[str, Callable[..., tuple[Case, Verdict]]] = {
    "layout": layout_case,
    "options": option_case,
    "state": state_case,
    "kill": kill_case,
    "disk": disk_case,
    "writers": writers_case,
}
SHARES = {"layout": 0.55, "options": 0.2, "state": 0.25}
"""Share of each kind among the mutations."""
SHOWN = 3
"""Number of cases listed for each distinct failure."""


@dataclass(frozen=True)
class Result:
    """The result of one case, as plain values."""

    identity: str
    group: str
    damage: str
    command: tuple[str, ...]
    verdict: str
    message: str
    seconds: float
    cpu_seconds: float


def identities(mutations: int, kills: int, disks: int, writers: int) -> list[str]:
    """Return the names of the cases of a campaign; slow kinds come first."""
    counts = {kind: round(mutations * share) for kind, share in SHARES.items()}
    counts = {"kill": kills, "disk": disks, "writers": writers, "state": counts["state"]} | counts
    return [f"{kind}-{number:04d}" for kind, count in counts.items() for number in range(count)]


def carry_out(bench: Bench, identity: str, keep: bool = False) -> Result:
    """Run one case and remove its folder unless `keep` is set."""
    kind, _, number = identity.rpartition("-")
    started, used = time.monotonic(), _cpu()
    random = bench.random(list(KINDS).index(kind), int(number))
    try:
        case, verdict = KINDS[kind](bench, identity, random)
    except Exception:  # an error of the campaign itself must not count as a pass
        root = bench.work / identity
        case, verdict = Case(identity, kind, root, root, ()), Verdict("campaign", traceback.format_exc()[-600:])
    if not keep and case.root.exists():
        make_readable(case.root)
        shutil.rmtree(case.root, ignore_errors=True)
    spent = time.monotonic() - started, _cpu() - used
    return Result(identity, case.group, case.damage, case.command, verdict.kind, verdict.message, *spent)


def _cpu() -> float:
    """Return the CPU seconds of this process and of the commands it ran."""
    return sum(os.times()[:4])


def carry_out_all(bench: Bench, names: Sequence[str], jobs: int) -> Iterator[Result]:
    """Run cases in `jobs` forks of this process."""
    if jobs == 1:
        yield from (carry_out(bench, name) for name in names)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        waiting = [pool.submit(carry_out, bench, name) for name in names]
        for done in as_completed(waiting):
            yield done.result()


def counts_table(results: Sequence[Result]) -> str:
    """Return a Markdown table with the verdict counts of each group."""
    groups = sorted({result.group for result in results})
    kinds = [kind for kind in (*VERDICTS, "campaign") if kind in SOUND or any(r.verdict == kind for r in results)]
    lines = [f"| group | cases | {' | '.join(kinds)} |", f"|---|{'---:|' * (len(kinds) + 1)}"]
    for group in (*groups, "all"):
        own = [result for result in results if group in {"all", result.group}]
        found = Counter(result.verdict for result in own)
        lines.append(f"| {group} | {len(own)} | {' | '.join(str(found[kind]) for kind in kinds)} |")
    return "\n".join(lines)


def failures(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Return the failures grouped by message, the most frequent first."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in sorted(results, key=lambda each: each.identity):
        if result.verdict not in SOUND:
            found.setdefault((result.verdict, normalised(result.message)), []).append(result)
    return dict(sorted(found.items(), key=lambda item: (item[0][0], -len(item[1]))))


def failures_text(results: Sequence[Result], repeat: str) -> str:
    """Return each distinct failure once, with its count, an example and the command that repeats it."""
    lines = []
    for (verdict, _), found in failures(results).items():
        first = found[0]
        lines += [f"- **{verdict}** x {len(found)}: {first.message}", f"  {first.group}: {first.damage[:200]}"]
        lines += [f"  `labelfree {' '.join(first.command)[:200]}`"]
        names = " ".join(result.identity for result in found[:SHOWN])
        lines += [f"  `{repeat} {first.identity}` (also: {names})"]
    return "\n".join(lines)


def write_json(path: Path, results: Sequence[Result], seed: int, seconds: float, jobs: int) -> None:
    """Write counts and failures to a JSON file that can be committed."""
    groups = sorted({result.group for result in results})
    data = {
        "command": f"python -m benchmarks.faults {' '.join(sys.argv[1:])}",
        "revision": _revision(),
        "seed": seed,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(sum(result.cpu_seconds for result in results), 1),
        "jobs": jobs,
        "cases": len(results),
        "counts": dict(Counter(result.verdict for result in results)),
        "groups": {group: dict(Counter(r.verdict for r in results if r.group == group)) for group in groups},
        "failures": [
            {"verdict": kind, "count": len(found), "message": found[0].message, "group": found[0].group,
             "damage": found[0].damage, "command": list(found[0].command), "cases": [r.identity for r in found[:20]]}
            for (kind, _), found in failures(results).items()
        ],
    }  # fmt: skip
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _revision() -> str:
    command = ["git", "-C", os.path.dirname(__file__), "rev-parse", "HEAD"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
