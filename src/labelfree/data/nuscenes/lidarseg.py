"""Read lidarseg's labels of key frames: 32 raw ids are merged into the benchmark's 16 classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError
from labelfree.files.documents import LARGEST_SWEEP, open_file
from labelfree.vocabulary import IGNORE_LABEL

MERGED: dict[str, tuple[str, ...]] = {
    "barrier": ("movable_object.barrier",),
    "bicycle": ("vehicle.bicycle",),
    "bus": ("vehicle.bus.bendy", "vehicle.bus.rigid"),
    "car": ("vehicle.car",),
    "construction vehicle": ("vehicle.construction",),
    "motorcycle": ("vehicle.motorcycle",),
    "pedestrian": (
        "human.pedestrian.adult",
        "human.pedestrian.child",
        "human.pedestrian.construction_worker",
        "human.pedestrian.police_officer",
    ),
    "traffic_cone": ("movable_object.trafficcone",),
    "trailer": ("vehicle.trailer",),
    "truck": ("vehicle.truck",),
    "driveable surface": ("flat.driveable_surface",),
    "other_flat": ("flat.other",),
    "sidewalk": ("flat.sidewalk",),
    "terrain": ("flat.terrain",),
    "manmade": ("static.manmade",),
    "vegetation": ("static.vegetation",),
}
"""The benchmark's classes, in its order, and the categories merged into each; all others are ignored."""

RAW_IDS = {
    name: number
    for number, name in enumerate(
        (
            "noise", "animal", "human.pedestrian.adult", "human.pedestrian.child",
            "human.pedestrian.construction_worker", "human.pedestrian.personal_mobility",
            "human.pedestrian.police_officer", "human.pedestrian.stroller", "human.pedestrian.wheelchair",
            "movable_object.barrier", "movable_object.debris", "movable_object.pushable_pullable",
            "movable_object.trafficcone", "static_object.bicycle_rack", "vehicle.bicycle", "vehicle.bus.bendy",
            "vehicle.bus.rigid", "vehicle.car", "vehicle.construction", "vehicle.emergency.ambulance",
            "vehicle.emergency.police", "vehicle.motorcycle", "vehicle.trailer", "vehicle.truck",
            "flat.driveable_surface", "flat.other", "flat.sidewalk", "flat.terrain", "static.manmade", "static.other",
            "static.vegetation", "vehicle.ego",
        )
    )
}  # fmt: skip
"""The 32 raw ids of lidarseg's release; used for tables whose categories have no index."""
HIGHEST_RAW_ID = len(RAW_IDS) - 1


def merging(ids: Mapping[str, int]) -> NDArray[np.uint8]:  # [256] raw id -> class, 255 = ignored
    """Return the table from the raw ids of categories to the 16 classes."""
    table = np.full(256, IGNORE_LABEL, np.uint8)
    for number, names in enumerate(MERGED.values()):
        for name in names:
            if name in ids:
                table[ids[name]] = number
    return table


def read_lidarseg(path: Path, points: int, table: NDArray[np.uint8], highest: int) -> NDArray[np.uint8]:  # [N]
    """Return the class of each point of a sweep.

    Raises an `InputError` if the number of labels is wrong or an id is higher than `highest`.
    """
    with open_file(path, "unpack lidarseg's labels of this key frame again", LARGEST_SWEEP) as file:
        raw = np.fromfile(file, dtype=np.uint8)
    if len(raw) != points:
        raise InputError(f"{path}: holds {len(raw)} labels for {points} points; unpack lidarseg again.")
    if len(raw) and raw.max() > highest:
        raise InputError(
            f"{path}: label {int(raw.max())} is not one of lidarseg's ids 0 to {highest}; unpack it again."
        )
    return table[raw]
