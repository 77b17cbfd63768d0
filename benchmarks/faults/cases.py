"""Damage cases: inputs in every layout, command lines, and the state that commands leave behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from benchmarks.faults.damage import damage
from benchmarks.faults.forks import Limits, Outcome, run
from benchmarks.faults.golden import (
    DISTURBED,
    PATCHES,
    RECIPE,
    STATES,
    STREET,
    Golden,
    State,
    environment,
    made_by,
    restore,
)
from benchmarks.faults.images import LARGE_IMAGE
from benchmarks.faults.options import bad_command
from benchmarks.faults.verdict import (
    DIFFERENCE,
    LEFTOVER,
    OUTSIDE,
    OVERWRITTEN,
    Listing,
    Verdict,
    difference,
    judge,
    temporaries,
)

Rng = np.random.Generator
BINARY_STATE = {".pt", ".safetensors", ".npz", ".npy", ".frame"}
LARGE_FACTOR = 3
"""What a valid image of the largest size that is read may take, times what other inputs may."""
PREDICTED, LABELLED = ("--out", "out/pred"), ("--out", "out/labels")


@dataclass(frozen=True)
class Layout:
    """A folder tree, the options to read it, and the network to label it."""

    name: str
    data: tuple[str, ...]
    network: str = "room"
    inputs: tuple[str, ...] = ()
    """Further inputs beside the tree that are not damaged."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Commands that replace the common ones."""

    def command(self, random: Rng) -> tuple[str, ...]:
        """Return a random command that reads the tree."""
        if self.commands:
            return self.commands[int(random.integers(len(self.commands)))]
        recipe = STREET if self.network == "street" else RECIPE
        verbs: dict[str, tuple[str, ...]] = {
            "check": ("check", *self.data),
            "prepare": ("prepare", *self.data),
            "label": ("label", *self.data, *LABELLED, *recipe, "--limit", "1"),
            "predict": ("predict", "out/net", *self.data, *PREDICTED),
            "evaluate": ("evaluate", "out/net", *self.data, "--networks-only"),
            "measure": ("evaluate", "out/net", *self.data, "--limit", "1"),
            "run": ("run", *self.data, "--out", "out/run", *recipe, "--train.epochs=1", "--switch.start_epoch=0"),
            "submission": ("predict", "out/net", *self.data, *PREDICTED, "--submission"),
        }
        shares = {
            "check": 26,
            "prepare": 22,
            "label": 10,
            "predict": 20,
            "evaluate": 10,
            "measure": 4,
            "run": 4,
            "submission": 4,
        }
        chosen = verbs[str(random.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))]
        return (*chosen, "--skip-broken") if random.random() < 0.12 else chosen


TEACHERS = ("label", "in/room", *LABELLED, *RECIPE, "--limit", "1")
IMAGES = tuple(
    ("predict", "out/net", f"in/room/{what}", *PREDICTED)
    for what in ("color", "color", "cloud.ply", "color/000000.png")
)
LAYOUTS = (
    Layout("room", ("in/room",)),
    Layout("room", ("in/room",), commands=IMAGES),
    Layout("fused", ("in/fused",)),
    Layout("rooms", ("in/rooms",)),
    Layout("described", ("in/described/capture.yaml",)),
    Layout("scannet", ("in/scannet",)),
    Layout("sens", ("in/sens",)),
    Layout("exports", ("in/exports",)),
    Layout("nuscenes", ("in/nuscenes", "--split", "val"), "street"),
    Layout("nuimages", ("in/nuimages", "--split", "val"), "street"),
    Layout("nerfstudio", ("in/nerfstudio", ), commands=(
        ("check", "in/nerfstudio"), ("prepare", "in/nerfstudio"), ("predict", "out/net", "in/nerfstudio", *PREDICTED),
        ("label", "in/nerfstudio", *LABELLED, *RECIPE, "--classes", "wall, floor, table", "--limit", "1"),
    )),
    Layout("kitti", ("in/kitti",), "street"),
    Layout("rig", ("in/rig/rig.yaml",), "street"),
    Layout("images", ("in/images",), commands=(("predict", "out/net", "in/images", *PREDICTED),)),
    Layout("maps", (), inputs=("room",), commands=((*TEACHERS, "--clip", "in/maps/clip", "--sam", "in/maps/masks"),)),
    Layout("scores", (), inputs=("room",), commands=((*TEACHERS, "--clip", "in/scores/clip", "--sam",
    "in/scores/masks"),)),
    Layout("models", (), inputs=("room",), commands=((*TEACHERS, "--clip", "in/models/clip", "--sam",
    "in/models/sam"),)),
    Layout("classes", (), inputs=("room",), commands=((*TEACHERS, "--classes", "in/classes/rooms16.yaml"),)),
    Layout("tiny.yaml", (), inputs=("room",), commands=(TEACHERS, ("run", "in/room", "--out", "out/run", *RECIPE))),
)  # fmt: skip


@dataclass
class Case:
    """One case with its folder."""

    identity: str
    group: str
    folder: Path
    """Working folder of the commands."""
    root: Path
    """Folder of the case, several levels above `folder`."""
    command: tuple[str, ...]
    damage: str = ""


@dataclass(frozen=True)
class Bench:
    """Data that every case uses."""

    golden: Golden
    work: Path
    seed: int
    limits: Limits
    states: tuple[State, ...] = STATES
    verbs: tuple[str, ...] = tuple(DISTURBED)
    """Commands for kills, full disks and two writers."""

    def random(self, kind: int, number: int) -> Rng:
        """Return the random generator of one case; it does not depend on other cases."""
        return np.random.default_rng([self.seed, kind, number])

    def run(self, case: Case, **more: object) -> Outcome:
        """Run the command of a case."""
        return run(
            case.command, case.folder, self.limits, environment=environment(case.folder), patches=PATCHES, **more
        )


def layout_case(bench: Bench, identity: str, random: Rng) -> tuple[Case, Verdict]:
    """Damage an input and run a command on it."""
    layout = LAYOUTS[int(random.integers(len(LAYOUTS)))]
    command = layout.command(random)
    recipe = () if layout.name == "tiny.yaml" else ("tiny.yaml", "street.yaml")
    root = bench.work / identity
    folder = bench.golden.lay_out(root, (layout.name, *layout.inputs, *recipe), layout.network)
    if command[0] in {"label", "run"}:
        bench.golden.put_cache(folder)
    case = Case(identity, f"layout {layout.name}", folder, root, command)
    target = folder / "in" / layout.name
    case.damage = (
        damage(random, target) if target.is_dir() else damage(random, folder / "in", lambda path: path == target)
    )
    if LARGE_IMAGE in case.damage:
        # 169 million pixels are honest work: 40 CPU seconds to label, blend and write, half of them softmax and resize.
        bench = replace(bench, limits=replace(bench.limits, cpu_seconds=LARGE_FACTOR * bench.limits.cpu_seconds))

    def mend() -> None:
        make_readable(folder / "in")
        restore_over(bench.golden.folder / "in" / layout.name, target)

    return case, _protected(bench, case, mend)


def option_case(bench: Bench, identity: str, random: Rng) -> tuple[Case, Verdict]:
    """Run a faulty command line."""
    root = bench.work / identity
    folder = bench.golden.lay_out(root, ("room", "tiny.yaml", "classes", "rooms-tiny.yaml"), "room")
    command, what = bad_command(random, folder)
    case = Case(identity, f"options {command[0]}", folder, root, command, what)
    return case, _protected(bench, case, lambda: None, strict=False)


def state_case(bench: Bench, identity: str, random: Rng) -> tuple[Case, Verdict]:
    """Damage the output of a command and repeat it: it refuses, or its results are those without damage."""
    state = bench.states[int(random.integers(len(bench.states)))]
    root = bench.work / identity
    folder = bench.golden.lay_out(root, state.inputs, state.network)
    case = Case(identity, f"state {state.name}", folder, root, state.command)
    if state.network:
        bench.run(case)
        damaged = folder / "home"
    else:
        bench.golden.put_state(state, folder)
        damaged = folder / "out"
    case.damage = damage(random, damaged, _is_state(random))
    found = _protected(bench, case, lambda: None)
    if found.kind == "completed":
        wrong = difference(bench.golden.expected[state.name], made_by(state, folder))
        if wrong:
            return case, Verdict(DIFFERENCE, wrong)
    return case, found


def _is_state(random: Rng) -> Callable[[Path], bool]:
    """Return which files may be damaged: in half of the cases weights and caches only, never final results."""
    handed, binary = {"pixels", "points", "figure", "pred", "data"}, random.random() < 0.5

    def wanted(path: Path) -> bool:
        parts = path.parts[path.parts.index("c") + 1 :]
        if "cache" in parts:
            return not binary or path.suffix not in {".json", ".txt"}
        return not handed & set(parts) and (not binary or path.suffix in BINARY_STATE)

    return wanted


def _protected(bench: Bench, case: Case, mend: Callable[[], None], strict: bool = True) -> Verdict:
    """Run the command of a case; fail if files outside `out` change or temporary files outlive the next run."""
    without = (case.folder / "out", case.folder / "home") if strict else ()
    make = Listing.of(case.root, without)
    outcome = bench.run(case)
    found = judge(outcome, bench.limits)
    after = Listing.of(case.root, without)
    kept = {name: content for name, content in make.entries.items() if strict or f"{case.folder.name}/in" in name}
    if changed := after.changed(Listing(kept)):
        return Verdict(OVERWRITTEN, f"{changed[0]} ({found.kind})")
    if strict and (added := after.added(make)):
        return Verdict(OUTSIDE, f"{added[0]} ({found.kind})")
    if found.sound and temporaries(case.folder):
        mend()
        again = judge(bench.run(case), bench.limits)
        if left := temporaries(case.folder):
            return Verdict(LEFTOVER, f"{left[0]} after the next run, which is {again.kind}")
    return found


def make_readable(folder: Path) -> None:
    """Restore file modes that allow reading and deleting."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def restore_over(source: Path, target: Path) -> None:
    """Replace a damaged tree by the undamaged one."""
    shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    restore(source, target)
