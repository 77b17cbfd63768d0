"""A corpus of images of many rooms or streets on disk, for training the lab's teachers: arrays and corpus.json.

Each room gives its photographs first, then the views of a walk; each street its photographs, then images of the
cameras of a drive. Finished rooms are recorded, so that an interrupted run resumes; corpus.json appears at the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.files.atomic import write_text
from labelfree_lab.rooms.cameras import photo_cameras, walk
from labelfree_lab.rooms.render import View, render
from labelfree_lab.rooms.room import build_room
from labelfree_lab.rooms.style import STYLES
from labelfree_lab.streets.drive import Picture
from labelfree_lab.streets.photos import street_pictures
from labelfree_lab.streets.sensing import Sight
from labelfree_lab.teachers.worlds import ROOMS, STREETS, WORLDS, World

UNFINISHED = "unfinished"
"""Subfolder that holds the arrays until the corpus is complete."""
Seen = View | Sight | Picture


@dataclass(frozen=True)
class CorpusPlan:
    """The content of a corpus; a street counts as a room and a drive as its walk."""

    rooms: int
    photos_per_room: int
    walk_views_per_room: int
    first_seed: int
    size: tuple[int, int]
    world: str = ROOMS.name

    @property
    def per_room(self) -> int:
        """Return the number of images of one room."""
        return self.photos_per_room + self.walk_views_per_room


@dataclass(frozen=True)
class Corpus:
    """An open corpus; the arrays are read-only memory maps."""

    plan: CorpusPlan
    images: NDArray[np.uint8]  # [n, H, W, 3]
    classes: NDArray[np.uint8]  # [n, H, W], 255 on ceilings and in the sky
    instances: NDArray[np.uint16]  # [n, H, W], per room, 0 in the sky
    parts: NDArray[np.uint16]  # [n, H, W], per room, 0 in the sky; those of a street are its instances
    room: NDArray[np.int32]  # [n] room seeds
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.room)

    @property
    def world(self) -> World:
        """Return the world that the corpus shows."""
        return WORLDS[self.plan.world]


def write_corpus(
    folder: Path,
    rooms: int,
    photos_per_room: int,
    walk_views_per_room: int,
    first_seed: int,
    processes: int = 1,
    size: tuple[int, int] | None = None,
    world: World = ROOMS,
) -> None:
    """Render a corpus into a folder; the same call resumes an interrupted one.

    Raises an `InputError` if the corpus would be empty or if the folder holds another corpus.
    """
    size = size or world.picture_size
    plan = CorpusPlan(rooms, photos_per_room, walk_views_per_room, first_seed, size, world.name)
    if rooms < 1 or plan.per_room < 1:
        raise InputError(
            f"A corpus of {rooms} {world.name} with {plan.per_room} images each is empty: give at least one of both."
        )
    if (folder / "corpus.json").exists():
        _check_same(folder / "corpus.json", plan)
        return
    work = folder / UNFINISHED
    _prepare(work, plan)
    done = np.load(work / "done.npy", mmap_mode="r")
    missing = [int(index) for index in np.flatnonzero(done == 0)]
    if processes == 1:
        for index in missing:
            _write_room(work, plan, index)
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for _ in pool.imap_unordered(partial(_write_room, work, plan), missing, chunksize=4):
                pass
    _finish(folder, work, plan)


def open_corpus(folder: Path) -> Corpus:
    """Return a finished corpus; raise an `InputError` if the folder has none."""
    plan = read_plan(folder)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _arrays(plan)}
    names = tuple(json.loads((folder / "corpus.json").read_text())["class_names"])
    return Corpus(
        plan, arrays["images"], arrays["classes"], arrays["instances"], arrays["parts"], arrays["room"], names
    )


def read_plan(folder: Path) -> CorpusPlan:
    """Return the plan of a finished corpus without opening its arrays; raise an `InputError` if the folder has none."""
    if not (folder / "corpus.json").exists():
        raise InputError(
            f"{folder}: holds no corpus.json; write the corpus with `python -m labelfree_lab.teachers.corpus`."
        )
    return _read_plan(folder / "corpus.json")


def open_pair(training: Path, tuning: Path) -> tuple[Corpus, Corpus]:
    """Return the training corpus and the tuning corpus; raise an `InputError` if they show different worlds."""
    pair = open_corpus(training), open_corpus(tuning)
    if pair[0].class_names != pair[1].class_names:
        raise InputError(
            f"{tuning} shows {pair[1].plan.world}, but {training} shows {pair[0].plan.world}: give two of one world."
        )
    return pair


def _arrays(plan: CorpusPlan) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and type of each array of a finished corpus."""
    count, (height, width) = plan.rooms * plan.per_room, plan.size
    return {
        "images": ((count, height, width, 3), "uint8"),
        "classes": ((count, height, width), "uint8"),
        "instances": ((count, height, width), "uint16"),
        "parts": ((count, height, width), "uint16"),
        "room": ((count,), "int32"),
    }


def _prepare(work: Path, plan: CorpusPlan) -> None:
    """Create empty arrays, unless an earlier run with the same plan created them."""
    if (work / "plan.json").exists():
        _check_same(work / "plan.json", plan)
        return
    work.mkdir(parents=True, exist_ok=True)
    for name, (shape, dtype) in (_arrays(plan) | {"done": ((plan.rooms,), "uint8")}).items():
        np.lib.format.open_memmap(work / f"{name}.npy", mode="w+", dtype=dtype, shape=shape).flush()
    _write_plan(work / "plan.json", plan)


def _write_room(work: Path, plan: CorpusPlan, index: int) -> None:
    """Render all views of one room into its rows, then record it as done."""
    seed = plan.first_seed + index
    views = _street_views(plan, seed) if plan.world == STREETS.name else _room_views(plan, seed)
    rows = slice(index * plan.per_room, (index + 1) * plan.per_room)
    arrays = {name: np.load(work / f"{name}.npy", mmap_mode="r+") for name in (*_arrays(plan), "done")}
    arrays["images"][rows] = np.stack([view.image for view in views])
    arrays["classes"][rows] = np.stack([view.classes for view in views])
    arrays["instances"][rows] = np.stack([view.instances for view in views])
    arrays["parts"][rows] = np.stack([view.parts if isinstance(view, View) else view.instances for view in views])
    arrays["room"][rows] = seed
    arrays["done"][index] = 1


def _room_views(plan: CorpusPlan, seed: int) -> Sequence[Seen]:
    room = build_room(seed, STYLES[WORLDS[plan.world].style])
    cameras = photo_cameras(room, plan.photos_per_room, plan.size, seed=plan.first_seed)
    cameras += walk(room, plan.walk_views_per_room, plan.size)
    return [render(room, camera) for camera in cameras]


def _street_views(plan: CorpusPlan, seed: int) -> Sequence[Seen]:
    return street_pictures(seed, plan.photos_per_room, plan.walk_views_per_room, plan.size)


def _finish(folder: Path, work: Path, plan: CorpusPlan) -> None:
    for name in _arrays(plan):
        os.replace(work / f"{name}.npy", folder / f"{name}.npy")
    _write_plan(folder / "corpus.json", plan)
    for left in work.iterdir():
        left.unlink()
    work.rmdir()


def _write_plan(path: Path, plan: CorpusPlan) -> None:
    text = json.dumps({**asdict(plan), "class_names": WORLDS[plan.world].class_names}, indent=2)
    write_text(path, text + "\n")


def _read_plan(path: Path) -> CorpusPlan:
    read = json.loads(path.read_text())
    return CorpusPlan(
        rooms=int(read["rooms"]),
        photos_per_room=int(read["photos_per_room"]),
        walk_views_per_room=int(read["walk_views_per_room"]),
        first_seed=int(read["first_seed"]),
        size=(int(read["size"][0]), int(read["size"][1])),
        world=str(read.get("world", ROOMS.name)),  # older files have no world: they are of rooms
    )


def _check_same(path: Path, plan: CorpusPlan) -> None:
    if _read_plan(path) != plan:
        raise InputError(f"{path}: describes another corpus, {_read_plan(path)}, expected {plan}; use another folder.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write a corpus."""
    parser = argparse.ArgumentParser(description="Write a photo corpus of rooms or streets for the lab's teachers.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the arrays (2,200: 2.3 GB, streets 3.4)")
    parser.add_argument("--world", choices=tuple(WORLDS), default=ROOMS.name)
    parser.add_argument("--rooms", type=int, default=2200, help="rooms, or streets")
    parser.add_argument("--photos", type=int, default=8, help="photographs of objects per room or street")
    parser.add_argument("--views", type=int, default=3, help="views of a walk per room, of a drive per street")
    parser.add_argument("--first-seed", type=int, default=None, help="default: the teachers'; tuning is at 2000000")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    world = WORLDS[options.world]
    first = world.teacher_seeds if options.first_seed is None else options.first_seed
    write_corpus(options.out, options.rooms, options.photos, options.views, first, options.processes, None, world)


if __name__ == "__main__":
    main()
