"""What counts as a failure: of one command by what it said, of a folder by what is in it afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.faults.forks import Limits, Outcome

COMPLETED, REFUSED = "completed", "refused"
TRACEBACK, HANG, MEMORY, CRASH, MESSAGE = "traceback", "hang", "memory", "crash", "message"
FOREIGN = "foreign text"
DIFFERENCE, OVERWRITTEN, OUTSIDE, LEFTOVER = "silent difference", "overwritten input", "outside --out", "leftover"
VERDICTS = (
    COMPLETED, REFUSED, TRACEBACK, HANG, MEMORY, CRASH, MESSAGE, FOREIGN, DIFFERENCE, OVERWRITTEN, OUTSIDE, LEFTOVER,
)  # fmt: skip
SOUND = (COMPLETED, REFUSED)

TOLD = re.compile(r"labelfree[a-z ]*: ")
PROGRESS = re.compile(r"([\w ,'+-]+: \d+/\d+ .*|\[\d+/\d+\] .*|usage: .*|\s+.*|)")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")
ADVICE = re.compile(
    r"weights_only|allow_pickle|torch\.serialization|add_safe_globals|Please file an issue|MAX_IMAGE_PIXELS"
)
OUT_OF_MEMORY = re.compile(r"MemoryError|can't allocate memory|Unable to allocate|Cannot allocate memory")
HASHED_BYTES = 64 << 20
INTERRUPTED = (130, 143)


@dataclass(frozen=True)
class Verdict:
    """What became of a case."""

    kind: str
    message: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return self.kind in SOUND


def judge(outcome: Outcome, limits: Limits, last: str = "") -> Verdict:
    """Judge one command by its exit code, its messages, its time and its memory.

    `last` is how standard output ends without a disturbance, normalised. A command that has printed it has ended its
    work: the signal that was sent may then end the interpreter, which is shutting down, without a message.
    """
    told = f"{outcome.stdout}\n{outcome.stderr}"
    if outcome.hang:
        return Verdict(HANG, outcome.hang)
    if OUT_OF_MEMORY.search(outcome.stderr):
        return Verdict(MEMORY, last_line(outcome.stderr))
    if "Traceback (most recent call last)" in told:
        return Verdict(TRACEBACK, where(told))
    late = bool(last) and outcome.code == -outcome.signal and normalised(last_line(outcome.stdout)) == last
    if outcome.code < 0 and not late and not (outcome.stopped and outcome.code == -9):
        return Verdict(CRASH, f"ended by signal {-outcome.code} {last_line(outcome.stderr)}")
    if outcome.peak_bytes > limits.peak_bytes:
        return Verdict(MEMORY, f"{outcome.peak_bytes >> 20} MB")
    if control := CONTROL.search(told.replace("\r\n", "\n")):
        return Verdict(MESSAGE, f"control character {control[0]!r} on the terminal")
    if foreign := ADVICE.search(told):
        return Verdict(FOREIGN, f"advice that is not ours: {foreign[0]}")
    return _judge_message(replace(outcome, code=0) if late else outcome)


def _judge_message(outcome: Outcome) -> Verdict:
    lines = outcome.stderr.splitlines()
    strange = [line for line in lines if not TOLD.match(line) and not PROGRESS.fullmatch(line)]
    if strange:
        return Verdict(FOREIGN, strange[0][:200])
    if outcome.code == 0:
        return Verdict(COMPLETED)
    if outcome.stopped and (outcome.code in INTERRUPTED or outcome.code == -9):
        return Verdict(REFUSED) if outcome.code == -9 or _says(lines) else Verdict(MESSAGE, "stopped without a message")
    if outcome.code != 2:
        return Verdict(MESSAGE, f"exit code {outcome.code}: {last_line(outcome.stderr)}")
    listed = outcome.command[0] == "prepare" and "problem" in outcome.stdout
    if not listed and not _says(lines):
        return Verdict(MESSAGE, f"exit code 2 without a sentence: {last_line(outcome.stderr)}")
    return Verdict(REFUSED, last_line(outcome.stderr))


def _says(lines: list[str]) -> bool:
    return bool(lines) and bool(TOLD.match(lines[-1]))


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")[:300]


def where(text: str) -> str:
    """Return the last line of a traceback and the innermost place of it in the package."""
    frames = re.findall(r'File "[^"]*?/(labelfree/[^"]+)", line \d+, in (\S+)', text)
    place = f"{frames[-1][0]}:{frames[-1][1]}" if frames else "?"
    found = [line for line in text.splitlines() if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit|Warning)\b", line)]
    return f"{place}: {(found[-1] if found else last_line(text))[:240]}"


def normalised(message: str) -> str:
    """Return a message without what differs from case to case, so that equal failures are counted together."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", message)
    text = re.sub(r"[^\s:;,()]*/[^\s:;,()]*", lambda found: _kept(found[0]), text)
    return re.sub(r"0x[0-9a-f]+|-?\d+(\.\d+)?(e[+-]?\d+)?", "#", text)


def _kept(path: str) -> str:
    return path if path.startswith("labelfree/") else "PATH"


@dataclass(frozen=True)
class Listing:
    """Every entry under a folder: its kind, and its content or where that is large its size and time."""

    entries: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path, without: tuple[Path, ...] = ()) -> Listing:
        """Look at everything under `folder`, except what is under some of its folders."""
        return cls({str(path.relative_to(folder)): _content(path) for path in _walk(folder, without)})

    def changed(self, before: Listing) -> list[str]:
        """Return the entries of `before` that are not there or not the same any more."""
        return [name for name, content in before.entries.items() if self.entries.get(name) != content]

    def added(self, before: Listing) -> list[str]:
        """Return the entries that were not there before."""
        return [name for name in self.entries if name not in before.entries]


def _walk(folder: Path, without: tuple[Path, ...]) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(place) / name not in without]
        yield from (Path(place) / name for name in (*folders, *names) if not name.startswith((".stdout-", ".stderr-")))


def _content(path: Path) -> str:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return f"{stat.S_IFMT(found.st_mode):o} {os.readlink(path) if stat.S_ISLNK(found.st_mode) else ''}"
    if found.st_size > HASHED_BYTES:
        return f"{found.st_size} {found.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def temporaries(folder: Path) -> list[str]:
    """Return the temporary files under a folder."""
    return sorted(str(path.relative_to(folder)) for path in _walk(folder, ()) if path.name.endswith(".tmp"))


def results(out: Path) -> dict[str, str]:
    """Return what a command made, by file: weights, labels and numbers, without times."""
    found = {}
    for path in _walk(out, (out / "cache", out / "data")):
        name = str(path.relative_to(out))
        if "cache" in path.relative_to(out).parts[:-1] or not path.is_file():
            continue
        if path.name in {"results.json", "evaluation.json", "result.json"} or re.fullmatch(r"table\d\.json", path.name):
            found[name] = hashlib.sha256(json.dumps(_numbers(_json(path)), sort_keys=True).encode()).hexdigest()
        elif path.suffix in {".safetensors", ".npy", ".ply", ".png", ".bin"}:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return "unreadable"


def _numbers(data: Any) -> Any:
    """Leave out what differs between two runs that are the same."""
    passing = {"seconds", "commit", "command", "data", "statistics", "next_run", "key", "timings", "sha256"}
    if isinstance(data, dict):
        return {key: _numbers(value) for key, value in data.items() if key not in passing}
    return [_numbers(value) for value in data] if isinstance(data, list) else data


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Return what is not as expected; empty where all is."""
    missing = [name for name in expected if name not in found]
    other = [name for name in expected if name in found and found[name] != expected[name]]
    parts = [
        f"{len(names)} {what} ({names[0]})" for names, what in ((other, "differ"), (missing, "are missing")) if names
    ]
    return ", ".join(parts)


def repeated_steps(out: Path) -> str:
    """Return the metrics file that has a step twice, or lacks one."""
    for path in sorted(out.rglob("metrics.jsonl")):
        steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
        if steps != list(range(len(steps))):
            return f"{path.relative_to(out)} has the steps {steps[:12]}"
    return ""
