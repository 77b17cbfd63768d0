"""Faulty command lines: values, overrides, recipes, class names and paths."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from benchmarks.faults.golden import RECIPE

from labelfree.config.run_config import RunConfig

Rng = np.random.Generator

NUMBERS = (
    "-1",
    "0",
    "x",
    "",
    "1.5",
    "nan",
    "inf",
    "1e400",
    "99999999999999999999",
    "9223372036854775808",
    "0x10",
    "１",
)
PATHS = (
    "missing", "missing/deep/er", "in/room/intrinsic.txt", "in/room/intrinsic.txt/x", "in/room", ".", "", "/dev/null",
    "/dev/zero", "in/locked", "in/locked/x", "in/read-only/x", "in/fifo", "in/loop", "in/empty", "~/x", "x" * 300,
    "in/bin",
    "\x1b]0;owned\x07x", "../../../x\ny", "in/room/color", "in/room/cloud.ply", "-",
)  # fmt: skip
WORDS = (
    "",
    " ",
    ",",
    "x",
    "none",
    "None",
    "a,a",
    "../../x",
    "/",
    "x" * 5000,
    "\x1b[2J",
    "nope/nope",
    "rooms",
    "cuda:99",
)
DEVICES = ("cuda", "cuda:9", "tpu", "", "meta", "mps", "cpu:7", "CPU", "xla", "auto,cpu", "-1", "cuda:-1")
CLASSES = (
    "", ",", "one", "a,a", "a,,b", ",".join(f"c{index}" for index in range(300)), "\x1b[2J,b", "../../x, b",
    "missing.yaml",
    "in/locked", "in/room", "in/bin", "in/fifo", "wall, floor", "wall,floor\nceiling", "x" * 5000 + ",b", "in/bad.yaml",
)  # fmt: skip
OVERRIDES = (
    "--train.epochs=[", "--train=3", "--train.epochs={", "--train", "--=3", "--train.=3", "--.train=3",
    "--train..epochs=1",
    "--train.epochs", "--labels.image_size=48", "--labels.image_size=[0, 0]", "--labels.image_size=[48]",
    "--labels=null",
    "--labels.image_size=[-1, 64]", "--labels.image_size=[48, 64, 3]", "--labels.image_size=[48.5, 64]", "--seed=null",
    "--labels.image_size=[300000, 300000]", "--networks.net_2d.width=100000000", "--train.epochs=&a [*a]",
    "--train.epochs=@",
    "--train.epochs=" + "[" * 5000, "--train.epochs=!!python/object/apply:os.mkdir [owned]", "--system=magic",
    "--a.b.c=d",
    "--networks.net_3d.planes=[]", "--networks.net_3d.planes=[8]", "--networks.net_3d.voxel_m=0", "--memory_gb=-1",
    "--networks.net_3d.voxel_m=-0.1", "--pairing.tolerance_m=-1", "--pairing.tolerance_m=.nan", "--train.workers=-1",
    "--train.modalities=[]", "--train.modalities=2d", "--switch.start_epoch=-1", "--labels.latent_width=0",
    "--teachers=rooms",
    "--networks.backbone_weights=missing", "--networks.backbone_weights=in/room", "--networks.backbone_weights=in/bin",
    "--networks.backbone_weights_3d=in/locked", "--teachers.sam_options.points_per_side=0", "--train.precision=float7",
    "--teachers.clip_options.window=0", "--teachers.clip_options.stride=-1", "--train.learning_rate=.nan", "--help=3",
    "--teachers.clip_options.scale=0", "--teachers.sam_options.points_per_batch=0", "--augment.crop_area=[2, 1]",
    "--x=\x1b[2J",
    "--train.checkpoint_seconds=-5", "--train.checkpoint_seconds=.nan", "--networks.net_2d.output_stride=3",
    "--seed=-1",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, "x", "", [], {}, [1, 2, 3], -1, 0, 0.5, -0.5, float("nan"), float("inf"), "nan", [[]], {"a": 1},
    -(2**70),
)  # fmt: skip

BASES: tuple[tuple[str, ...], ...] = (
    ("check", "in/room"),
    ("prepare", "in/room"),
    ("label", "in/room", "--out", "out/labels", "--limit", "1", *RECIPE),
    ("train", "in/room", "--out", "out/run", *RECIPE, "--train.epochs=1", "--switch.start_epoch=0"),
    ("run", "in/room", "--out", "out/run", *RECIPE, "--train.epochs=1", "--switch.start_epoch=0"),
    ("evaluate", "out/net", "in/room", "--networks-only"),
    ("predict", "out/net", "in/room", "--out", "out/pred"),
    ("figure", "out/net", "in/room", "--to", "out/figure"),
    ("table", "2", "--world", "in/rooms-tiny.yaml", "--rows", "baseline", "--seeds", "1", "--rooms", "1",
     "--held-out-rooms", "1",
     "--views", "2", "--out", "out/table"),
    ("lab", "write", "--out", "out/lab", "--rooms", "1", "--held-out", "1", "--views", "2"),
    ("demo", "--rooms", "1", "--held-out", "1", "--out", "out/demo", *RECIPE, "--train.epochs=1",
     "--switch.start_epoch=0"),
    ("info",),
)  # fmt: skip
OVERRIDABLE = ("prepare", "label", "train", "run", "table", "demo")

OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--threads", "--every", "--limit", "--seed", "--scenes", "--rooms", "--held-out", "--views",
    "--seeds", "--first-seed", "--held-out-rooms", "--measure", "--processes"), NUMBERS),
    **dict.fromkeys(("--out", "--root", "--cache", "--to", "--data", "--recipe"), PATHS),
    **dict.fromkeys(("--clip", "--sam", "--world"), (*PATHS, *WORDS)),
    **dict.fromkeys(("--layout", "--split", "--rows", "--shard", "--held-out-split", "--quux", "--resume"), WORDS),
    "--device": DEVICES,
    "--classes": CLASSES,
}  # fmt: skip
SHARED = ("--root", "--every", "--limit", "--layout", "--split")
TEACHERS = ("--classes", "--recipe", "--clip", "--sam", "--device", "--cache", "--out")
OF_VERB: dict[str, tuple[str, ...]] = {
    "check": SHARED,
    "prepare": (*SHARED, "--classes", "--recipe", "--clip", "--sam", "--measure"),
    "label": (*SHARED, *TEACHERS, "--shard"),
    "train": (*SHARED, *TEACHERS, "--seed", "--processes", "--resume"),
    "run": (*SHARED, *TEACHERS, "--seed", "--processes"),
    "evaluate": (*SHARED, "--device", "--cache"),
    "predict": (*SHARED, "--device", "--out"),
    "figure": (*SHARED, "--scenes", "--to", "--cache", "--device"),
    "table": ("--world", "--seeds", "--first-seed", "--rows", "--out", "--data", "--split", "--classes", "--rooms",
              "--held-out-rooms", "--views", "--cache", "--device"),
    "lab": ("--out", "--layout", "--seed", "--scenes", "--rooms", "--views"),
    "demo": ("--out", "--seed", "--recipe", "--rooms", "--device"),
    "info": ("--threads",),
}  # fmt: skip
SMALL_ONLY = ("--scenes", "--rooms", "--held-out-rooms", "--held-out", "--views", "--seeds", "--processes")
"""Options whose large values are valid but slow."""


def bad_command(random: Rng, folder: Path) -> tuple[tuple[str, ...], str]:
    """Return a command line with one fault, sometimes two, and a description; write the files it names."""
    _write_odd_paths(folder / "in")
    command = list(BASES[int(random.integers(len(BASES)))])
    kinds: list[Callable[[Rng, list[str], Path], str]] = [_option, _option, _option, _position]
    if command[0] in OVERRIDABLE:
        kinds += [_override, _override, _setting, _recipe]
    count = 2 if random.random() < 0.15 else 1
    done = [kinds[int(random.integers(len(kinds)))](random, command, folder) for _ in range(count)]
    return tuple(text.replace("\0", "") for text in command), "; ".join(done)


def _write_odd_paths(folder: Path) -> None:
    (folder / "locked").write_text("classes: [a, b]\n")
    (folder / "locked").chmod(0)
    (folder / "read-only").mkdir()
    (folder / "read-only").chmod(0o555)
    (folder / "empty").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    (folder / "bin").write_bytes(bytes(range(256)) * 4)
    (folder / "bad.yaml").write_text("classes: [" * 3000)


def _option(random: Rng, command: list[str], folder: Path) -> str:
    names = (*OF_VERB[command[0]], "--threads")
    name = names[int(random.integers(len(names)))]
    values = OPTIONS[name]
    value = values[int(random.integers(5 if name in SMALL_ONLY else len(values)))]
    return _set(command, name, value)


def _set(command: list[str], name: str, value: str) -> str:
    """Set the value of an option, replacing an existing one."""
    if name in command:
        command[command.index(name) + 1] = value
    else:
        command += [f"{name}={value}"] if value.startswith("-") else [name, value]
    return f"{name} {value[:40]!r}"


def _position(random: Rng, command: list[str], folder: Path) -> str:
    """Replace a positional argument by another path, or remove it."""
    places = [place for place in (1, 2) if place < len(command) and not command[place].startswith("-")]
    places = [place for place in places if place == 1 or not command[place - 1].startswith("-")]
    if not places:
        command.append("surplus")
        return "a surplus argument"
    place = places[int(random.integers(len(places)))]
    if random.random() < 0.15:
        return f"without {command.pop(place)}"
    command[place] = PATHS[int(random.integers(len(PATHS)))]
    return f"argument {place} = {command[place][:40]!r}"


def _override(random: Rng, command: list[str], folder: Path) -> str:
    command.append(OVERRIDES[int(random.integers(len(OVERRIDES)))])
    return f"override {command[-1][:60]!r}"


def _setting(random: Rng, command: list[str], folder: Path) -> str:
    """Override a random setting by a value of a random type."""
    names = list(_leaves(asdict(RunConfig()), ""))
    name = names[int(random.integers(len(names)))]
    value = VALUES[int(random.integers(len(VALUES)))]
    command.append(f"--{name}={yaml.safe_dump(value, default_flow_style=True).removesuffix('...' + chr(10)).strip()}")
    return f"setting {command[-1][:60]}"


def _recipe(random: Rng, command: list[str], folder: Path) -> str:
    """Pass an invalid recipe file."""
    texts = ("", "3", "[]", "train: 3", "train: {epochs: [", "- a", "train: {epochs: x}", "\t", "train: null",
    "{1: 2}", "a: " * 50,
             "train: &a [*a]", "x: " + "[" * 4000, "seed: 1\nseed: 2", "\x00", "networks: {net_2d: []}",
             "? [a]\n: b")  # fmt: skip
    text = texts[int(random.integers(len(texts)))]
    (folder / "in" / "lab-odd.yaml").write_text(text)
    _set(command, "--world" if command[0] == "table" else "--recipe", "in/lab-odd.yaml")
    return f"a recipe that holds {text[:40]!r}"


def _leaves(tree: dict[str, Any], prefix: str) -> list[str]:
    found = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found.append(f"{prefix}{name}")
            found += _leaves(value, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}")
    return found
