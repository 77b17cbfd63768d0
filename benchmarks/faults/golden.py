"""Run undisturbed commands: networks, finished and interrupted runs, and the results to compare with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.forks import Limits, Outcome, Stop, finish, run, start
from benchmarks.faults.inputs import inner, write_inputs
from benchmarks.faults.verdict import last_line, normalised, results
from benchmarks.faults.warming import warm

RECIPE, STREET = ("--recipe", "in/tiny.yaml"), ("--recipe", "in/street.yaml")
RUN = ("run", "in/room", "--out", "out/run", *RECIPE)
KEPT = ("train", "in/fused", "--out", "out/run", *RECIPE, "--labels.keep_frames=true")
LABEL = ("label", "in/fused", "--out", "out/labels", *RECIPE)
TABLE = (
    "table", "2", "--world", "in/rooms-tiny.yaml", "--seeds", "1", "--rooms", "1", "--held-out-rooms", "1",
    "--views", "2", "--rows", "baseline,wo_refine", "--out", "out/table", "--train.epochs=2", "--switch.start_epoch=1",
)  # fmt: skip
DEMO = ("demo", "--rooms", "2", "--held-out", "1", "--out", "out/demo", *RECIPE, "--train.epochs=2")
PREDICT = ("predict", "out/run", "in/room", "--out", "out/pred")
EVALUATE = ("evaluate", "out/run", "in/room")
FIGURE = ("figure", "out/run", "in/room", "--to", "out/figure")
INDEX = ("predict", "out/net", "in/nuscenes", "--out", "out/pred")
NOT_COPIED = shutil.ignore_patterns("report.html")
NOT_OF_A_NETWORK = shutil.ignore_patterns("report.html", "training", "pixels", "points", "cache", ".*")
PATCHES = {"labelfree.data.nuscenes.index:CACHED_FROM_BYTES": 0}
"""Cache the nuScenes index for tables of any size, so that a small one can be damaged."""
BUILDING = Limits(cpu_seconds=300, idle_seconds=60)


@dataclass(frozen=True)
class State:
    """A folder left by commands, and the command that is repeated on it after damage."""

    name: str
    inputs: tuple[str, ...]
    first: tuple[str, ...]
    command: tuple[str, ...]
    made: str = ""
    """Prefix of the outputs of the repeated command; empty for everything in `out`."""
    steps: int | None = None
    """Number of steps after which the first command was killed; None if it finished."""
    network: str = ""
    """A network that is copied to `out/net`."""


STATES = (
    State("interrupted run", ("room", "tiny.yaml"), RUN, RUN, "run/", steps=2),
    State("finished run, predict", ("room", "tiny.yaml"), RUN, PREDICT, "pred/"),
    State("finished label", ("fused", "tiny.yaml"), LABEL, LABEL, "labels/"),
    State("interrupted train, kept frames", ("fused", "tiny.yaml"), KEPT, KEPT, "run/", steps=2),
    State("finished run, again", ("room", "tiny.yaml"), RUN, RUN, "run/"),
    State("finished run, evaluate", ("room", "tiny.yaml"), RUN, EVALUATE, "run/evaluation.json"),
    State("finished run, figure", ("room", "tiny.yaml"), RUN, FIGURE, "figure/"),
    State("interrupted table", ("rooms-tiny.yaml",), TABLE, TABLE, "table/table2", steps=1),
    State("interrupted demo", ("tiny.yaml",), DEMO, DEMO, "demo/", steps=3),
    State("nuScenes index", ("nuscenes",), INDEX, INDEX, "pred/", network="street"),
)
"""The first `SHORT_STATES` are those of the short campaign."""
SHORT_STATES = 3

DISTURBED: dict[str, State] = {
    "label": State("label", ("fused", "tiny.yaml"), LABEL, LABEL),
    "train": State("train", ("fused", "tiny.yaml"), KEPT, KEPT),
    "predict": State("predict", ("room",), (), ("predict", "out/net", "in/room", "--out", "out/pred"), network="room"),
    "run": State("run", ("room", "tiny.yaml"), RUN, RUN),
    "demo": State("demo", ("tiny.yaml",), DEMO, DEMO),
    "table": State("table", ("rooms-tiny.yaml",), TABLE, TABLE),
}
"""Commands that are killed, run out of disk space, or run twice at once, starting from an empty `out`."""
SHORT_VERBS = 2


@dataclass
class Golden:
    """The folder of undamaged inputs and states, with results, times and sizes."""

    folder: Path
    expected: dict[str, dict[str, str]]
    """Results of the repeated command of each state and of each disturbed command."""
    seconds: dict[str, float]
    """Time that each disturbed command takes undisturbed."""
    sizes: dict[str, int]
    """Bytes that each disturbed command writes."""
    last_lines: dict[str, str]
    """Last line of the output of each disturbed command, normalised."""

    def lay_out(self, case: Path, inputs: Sequence[str], network: str = "") -> Path:
        """Create the folder of a case with some of the inputs; return the working folder of its commands."""
        shutil.rmtree(case, ignore_errors=True)
        folder = inner(case)
        (folder / "out").mkdir(parents=True)
        (folder / "home").mkdir()
        (folder / "in").mkdir()
        for name in inputs:
            restore(self.folder / "in" / name, folder / "in" / name)
        if network:
            shutil.copytree(self.folder / "nets" / network, folder / "out" / "net")
        return folder

    def put_cache(self, folder: Path) -> None:
        """Copy the teacher outputs of undamaged images to `out`, so that only damaged images are processed."""
        shutil.copytree(self.folder / "cache", folder / "out" / "cache")

    def put_state(self, state: State, folder: Path) -> None:
        """Copy the output of the first command to `out`."""
        shutil.copytree(self.folder / "states" / state.name, folder / "out", dirs_exist_ok=True)


def restore(source: Path, target: Path) -> None:
    """Copy a file or a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment variables of a case: no network, separate caches."""
    home = str(folder / "home")
    return {
        "HF_HUB_OFFLINE": "1",
        "XDG_CACHE_HOME": home,
        "HOME": home,
        "TOKENIZERS_PARALLELISM": "false",
        "COLUMNS": "120",
    }


def build(folder: Path, wanted: Sequence[str]) -> Golden:
    """Write inputs, run the undisturbed commands and import the modules they use.

    `wanted` names the states that the campaign uses.
    """
    shutil.rmtree(folder, ignore_errors=True)
    write_inputs(folder / "in")
    shutil.copy(folder / "in" / "tiny.yaml", folder / "in" / "rooms-tiny.yaml")
    golden = Golden(folder, {}, {}, {}, {})
    _networks(golden)
    made: dict[tuple[object, ...], str] = {}
    for state in STATES:
        if state.name in wanted:
            _state(golden, state, made)
    for name, state in DISTURBED.items():
        if name in wanted:
            _disturbed(golden, name, state)
    return golden


def _networks(golden: Golden) -> None:
    """Train the networks of both worlds, keep maps of labels and masks, and import modules into this process."""
    street: tuple[str, ...] = ("train", "in/nuscenes", "--out", "out/run", *STREET, "--limit", "2", "--train.epochs=1")
    street += ("--switch.start_epoch=0", "--split", "train")
    label = ("label", "in/room", "--out", "out/labels", *RECIPE)
    folder = golden.lay_out(golden.folder / "work", ("room", "nuscenes", "tiny.yaml", "street.yaml"))
    modules = golden.folder / "modules"
    recording = environment(folder) | {"LABELFREE_MODULES": str(modules)}
    for name, command in (("room", RUN), ("street", street)):
        _succeed(run(command, folder, BUILDING, environment=recording))
        shutil.move(folder / "out" / "run", folder / "out" / name)
        shutil.copytree(folder / "out" / name, golden.folder / "nets" / name, ignore=NOT_OF_A_NETWORK)
        if name == "room":
            read = (label, ("predict", "out/room", "in/room", "--out", "out/pred"), ("evaluate", "out/room", "in/room"))
            warm(modules, read, folder, environment(folder))
    shutil.copytree(folder / "out" / "cache", golden.folder / "cache")
    for kind in ("clip", "masks"):
        shutil.copytree(folder / "out" / "labels" / "room" / kind, golden.folder / "in" / "maps" / kind)
    _write_scores(golden.folder / "in" / "maps" / "clip", golden.folder / "in" / "scores" / "clip")
    shutil.copytree(golden.folder / "in" / "maps" / "masks", golden.folder / "in" / "scores" / "masks")


def _write_scores(labels: Path, scores: Path) -> None:
    """Write score maps: two as arrays, the others as safetensors."""
    import numpy as np
    from PIL import Image
    from safetensors.numpy import save_file

    scores.mkdir(parents=True)
    for index, path in enumerate(sorted(labels.glob("*.png"))):
        with Image.open(path) as opened:
            chosen = (np.array(opened)[None] == np.arange(16)[:, None, None]).astype(np.float32)
        if index < 2:
            np.save(scores / f"{path.stem}.npy", chosen)
        else:
            save_file({"scores": chosen}, scores / f"{path.stem}.safetensors")


def _state(golden: Golden, state: State, made: dict[tuple[object, ...], str]) -> None:
    """Run the first command of a state, unless another state has the same one; keep its output; run the second."""
    folder = golden.lay_out(golden.folder / "work", state.inputs, state.network)
    kept = golden.folder / "states" / state.name
    if (like := made.get((state.first, state.steps))) is not None:
        shutil.copytree(golden.folder / "states" / like, kept)
        shutil.copytree(kept, folder / "out", dirs_exist_ok=True)
    elif state.steps is not None:
        _interrupt(state, folder)
    elif state.first != state.command or not state.network:
        _succeed(run(state.first, folder, BUILDING, environment=environment(folder), patches=PATCHES))
    if like is None and not state.network:
        shutil.copytree(folder / "out", kept, ignore=NOT_COPIED)
        made[(state.first, state.steps)] = state.name
    _succeed(run(state.command, folder, BUILDING, environment=environment(folder), patches=PATCHES))
    golden.expected[state.name] = made_by(state, folder)


def made_by(state: State, folder: Path) -> dict[str, str]:
    """Return the results of the repeated command of a state."""
    return {name: content for name, content in results(folder / "out").items() if name.startswith(state.made)}


def _interrupt(state: State, folder: Path) -> None:
    """Kill the first command as soon as it has written `state.steps` steps."""
    running = start(state.first, folder, BUILDING, environment=environment(folder))
    over = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while _steps(folder) < (state.steps or 0) and os.waitid(os.P_PID, running.pid, over) is None:
        time.sleep(0.002)
    running.stop = Stop(signal.SIGKILL, 0.0)
    finish(running)


def _steps(folder: Path) -> int:
    """Return the number of steps that a running command has written; 0 while its folders are being moved."""
    try:
        return max((len(path.read_text().splitlines()) for path in folder.rglob("metrics.jsonl")), default=0)
    except OSError:
        return 0


def _disturbed(golden: Golden, name: str, state: State) -> None:
    folder = golden.lay_out(golden.folder / "work", state.inputs, state.network)
    outcome = run(state.command, folder, BUILDING, environment=environment(folder))
    _succeed(outcome)
    golden.expected[name], golden.seconds[name] = results(folder / "out"), outcome.seconds
    golden.last_lines[name] = normalised(last_line(outcome.stdout))
    golden.sizes[name] = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())


def _succeed(outcome: Outcome) -> None:
    if outcome.code != 0:
        text = json.dumps(
            {"command": outcome.command, "code": outcome.code, "stderr": outcome.stderr[-2000:]}, indent=1
        )
        raise SystemExit(f"An undisturbed command fails, so nothing can be compared with it: {text}")
