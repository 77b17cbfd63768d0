"""Measure the gain of CNS over its baseline for noisier CLIP labels and for other masks, in world rooms.

    python benchmarks/teacher_curves.py --seeds 2 --table results/tables --out results/tables/curves

Each point of a curve has `baseline`, `wo_cns` and `full` of Table 2 with another teacher, all else equal. The noise of
CLIP's labels is set by the scale at which CLIP reads images. Masks come from SAM with a coarser and with the default
grid of prompts, or from ground truth (true parts, true objects) as upper bounds. Run the same command again to resume.
Several processes can share the runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.cli.arguments import with_preset_colours
from labelfree.config.recipe_files import recipe_path
from labelfree.evaluation.method_results import MISSING, Table
from labelfree.files.atomic import write_text
from labelfree.paper_tables.row_runner import RowRunner
from labelfree.paper_tables.rows import TABLE_2
from labelfree.paper_tables.schedule import Schedule, carry_out, row_settings
from labelfree.paper_tables.summary import SIDES, TableRuns, table_runs
from labelfree.raster import resize_nearest
from labelfree.results.environment import PACKAGE, git_revision
from labelfree.scene import Frame
from labelfree.teachers.labelling import SamMasks
from labelfree.teachers.teachers import Teachers
from labelfree.vocabulary import Vocabulary
from labelfree_lab.rooms.cameras import walk
from labelfree_lab.rooms.dataset import HELD_OUT_OFFSET, LabSize
from labelfree_lab.rooms.render import cast, pixel_rays
from labelfree_lab.rooms.room import CLASS_NAMES, build_room, experiment_room_seed
from labelfree_lab.rooms.style import STYLES
from labelfree_lab.tables import LabRooms

ROWS = tuple(TABLE_2.row(name) for name in ("baseline", "wo_cns", "full"))


@dataclass(frozen=True)
class Point:
    """One teacher of a curve."""

    curve: str
    name: str
    overrides: tuple[str, ...] = ()
    truth: str = ""
    """`parts` or `objects`: true masks that replace those of SAM; empty for SAM."""


POINTS = (
    Point("noise of CLIP", "read at scale 1", ("--teachers.clip_options.scale=1.0",)),
    Point("noise of CLIP", "read at scale 1.5", ("--teachers.clip_options.scale=1.5",)),
    Point("noise of CLIP", "read at scale 2 (tables)"),
    Point("masks of SAM", "4x4 prompts", ("--teachers.sam_options.points_per_side=4",)),
    Point("masks of SAM", "10x10 prompts (tables)"),
    Point("masks of SAM", "true parts instead", truth="parts"),
    Point("masks of SAM", "true objects instead", truth="objects"),
)


class TrueMasks:
    """True masks of a seed's rooms, rendered again: whole objects or their parts. Features are those of rooms-sam."""

    def __init__(self, sam: SamMasks, seed: int, kind: str) -> None:
        self.sam, self.seed, self.kind, self.notices = sam, seed, kind, sam.notices
        self._by_picture: dict[str, NDArray[np.uint16]] = {}

    def add(self, frame: Frame, ids: NDArray[np.uint16]) -> None:
        self._by_picture[frame.image.digest()] = ids

    def mask_ids(self, frame: Frame, size: tuple[int, int]) -> NDArray[np.uint16]:
        return np.asarray(resize_nearest(self._by_picture[frame.image.digest()], size))

    def features(self, frame: Frame) -> NDArray[np.float16] | None:
        return self.sam.features(frame)

    def describe(self) -> str:
        return f"true {self.kind} of lab seed {self.seed}"

    def fingerprint(self) -> str:
        return f"true-{self.kind}-{self.seed}"


def true_ids(seed: int, room: int, views: int, size: LabSize, kind: str) -> Iterator[NDArray[np.uint16]]:
    built = build_room(experiment_room_seed(seed, room), STYLES[size.style])
    ids = built.primitives.instance if kind == "objects" else built.part
    for camera in walk(built, views, size.image_size):
        _, primitive = cast(built, camera, *pixel_rays(camera))
        yield ids[primitive].reshape(size.image_size).astype(np.uint16)


def with_true_masks(teachers: Teachers, seed: int, data: LabRooms, kind: str) -> Teachers:
    if not isinstance(teachers.masks, SamMasks):
        raise TypeError(f"{type(teachers.masks)} has no features of SAM")
    masks, scenes = TrueMasks(teachers.masks, seed, kind), data.open(seed)
    for offset, rooms in ((0, scenes.train), (HELD_OUT_OFFSET, scenes.held_out)):
        for index, room in enumerate(rooms):
            ids = true_ids(seed, offset + index, len(room.frames), data.size, kind)
            for frame, found in zip(room.frames, ids):
                masks.add(frame, found)
    return replace(teachers, masks=masks)


def measure_point(
    point: Point, data: LabRooms, seeds: Sequence[int], out: Path, table: Path, overrides: Sequence[str]
) -> TableRuns:
    settings = row_settings(recipe_path("rooms"), [*overrides, *point.overrides])
    identity = f"{data.identity} {point.truth}".strip()
    as_in_the_table = not (overrides or point.overrides or point.truth)
    place = table if as_in_the_table else out / point.name.split(" (")[0].replace(" ", "-")
    schedule = Schedule(settings, identity, place)

    def adapt(teachers: Teachers, seed: int) -> Teachers:
        return with_true_masks(teachers, seed, data, point.truth) if point.truth else teachers

    runner = RowRunner(data, table / "cache", adapt=adapt)
    carry_out(schedule.jobs(ROWS, seeds, ROWS[-1]), runner, git_revision(PACKAGE))
    return table_runs(replace(TABLE_2, rows=ROWS), "rooms", schedule, seeds)


def point_json(point: Point, runs: TableRuns) -> dict[str, Any]:
    rows = {row.name: {f"miou_{side}": runs.values(row, "miou", side) for side in SIDES} for row in ROWS}
    return {"curve": point.curve, "point": point.name, "overrides": list(point.overrides), "rows": rows}


def cells(runs: TableRuns) -> Iterator[str]:
    for side in SIDES:
        for row in ROWS:
            mean = runs.mean(row, "miou", side)
            yield MISSING if mean is None else f"{mean.mean:.1f}"
        for other in ("baseline", "wo_cns"):
            gain = runs.difference(ROWS[-1], other, "miou", side)
            yield MISSING if gain is None else f"{gain.measured.mean:+.1f}"


def page(measured: Sequence[tuple[Point, TableRuns]], command: str, seeds: Sequence[int]) -> str:
    columns = (*(row.name for row in ROWS), "full − baseline", "full − wo_cns")
    header = ("teacher", *(f"{side.upper()} {column}" for side in SIDES for column in columns))
    parts = [
        "# CNS as its teachers change, in the indoor lab",
        f"`{command}`; mean mIoU in percent over seeds {', '.join(map(str, seeds))}.",
    ]
    for curve in dict.fromkeys(point.curve for point, _ in measured):
        rows = tuple((point.name, *cells(runs)) for point, runs in measured if point.curve == curve)
        parts += [f"## {curve[0].upper()}{curve[1:]}", Table(header, rows).markdown()]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="runs, curves.md and curves.json")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument(
        "--table", type=Path, required=True, help="folder of the table, whose rooms, cache and runs are shared"
    )
    parser.add_argument("--curve", choices=tuple(dict.fromkeys(point.curve for point in POINTS)), help="only this one")
    options, overrides = parser.parse_known_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    vocabulary = with_preset_colours(Vocabulary.from_names(CLASS_NAMES))
    data, measured = LabRooms(options.table / "data", LabSize(), vocabulary), []
    for point in (point for point in POINTS if options.curve in (None, point.curve)):
        measured.append((point, measure_point(point, data, seeds, options.out / "runs", options.table, overrides)))
        command = " ".join(["python benchmarks/teacher_curves.py", *sys.argv[1:]])
        write_text(options.out / "curves.md", page(measured, command, seeds))
        found = {"command": command, "seeds": list(seeds), "points": [point_json(*each) for each in measured]}
        write_text(options.out / "curves.json", json.dumps(found, indent=1) + "\n")
    print(page(measured, command, seeds))


if __name__ == "__main__":
    main()
