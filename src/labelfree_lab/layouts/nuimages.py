"""Images of streets in nuImages' layout: tables, images, masks of objects and of the road."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelfree.data.nuimages.layout import CLASSES, SPLITS
from labelfree.data.nuimages.rle import encode
from labelfree.data.nuscenes.lidarseg import MERGED
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file, atomic_folder, write_text
from labelfree.runtime.progress import Progress
from labelfree_lab.layouts.nuscenes import JPEG_QUALITY, pose_fields, token
from labelfree_lab.streets.drive import Drive, Picture
from labelfree_lab.streets.route import STREETS_PER_EXPERIMENT, DriveSize, street_drive

FIRST_STREET = STREETS_PER_EXPERIMENT // 2
"""First of the second half of an experiment's streets; the nuScenes layout uses the first half."""
SURFACES = ("driveable surface",)
TRAIN, VAL = SPLITS[:2]


def write_nuimages(folder: Path, seed: int, scenes: int, size: DriveSize | None = None) -> None:
    """Write the six images of one key frame per street; a quarter of the streets is the val split.

    Raises an `InputError` if `scenes` is below 2 or if the folder is not empty.
    """
    if scenes < 2:
        raise InputError(f"--scenes is {scenes}: give 2 or more, one of them is held out.")
    size = size or DriveSize(key_frames=1)
    held_out = max(1, round(scenes / 4))
    drives = [street_drive(seed, FIRST_STREET + index, size) for index in range(scenes)]
    with Progress("street", scenes) as progress:
        write_splits(folder, {TRAIN: drives[:-held_out], VAL: drives[-held_out:]}, progress)


def write_splits(folder: Path, splits: Mapping[str, Sequence[Drive]], progress: Progress) -> None:
    """Write the six images of each drive's first key frame; the folder appears when it is complete.

    Raises an `InputError` if the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: already exists; choose another --out or delete it.")
    with atomic_folder(folder) as made:
        for split, drives in splits.items():
            tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
            for drive in drives:
                for picture in next(iter(drive)).pictures:
                    _add(made, tables, drive.name, picture)
                progress.advance()
            for name in (*(raw for names in MERGED.values() for raw in names), "vehicle.ego"):
                tables["category"].append({"token": token("category", name), "name": name, "description": ""})
            for table, rows in tables.items():
                write_text(made / f"v1.0-{split}" / f"{table}.json", json.dumps(rows, indent=0) + "\n")


TABLES = (
    "attribute", "calibrated_sensor", "category", "ego_pose", "log", "object_ann", "sample", "sample_data", "sensor",
    "surface_ann",
)  # fmt: skip


def _add(root: Path, tables: dict[str, list[dict[str, Any]]], street: str, picture: Picture) -> None:
    """Write an image and add its rows to the tables."""
    # Log and sensor, once each
    camera, time = picture.camera, picture.timestamp_us
    key = (street, camera.channel, time)
    log, sensor = token("log", street), token("sensor", camera.channel)
    rows = {
        "log": {
            "token": log, "logfile": f"lab-{street}", "vehicle": "lab",
            "date_captured": "2018-07-01", "location": "lab",
        },
        "sensor": {"token": sensor, "channel": camera.channel, "modality": "camera"},
    }  # fmt: skip
    for table, row in rows.items():
        if all(known["token"] != row["token"] for known in tables[table]):
            tables[table].append(row)
    # Calibration and pose
    calibration, ego, data = (token(table, *key) for table in ("calibrated_sensor", "ego_pose", "sample_data"))
    tables["calibrated_sensor"].append(
        {
            "token": calibration, "sensor_token": sensor, **pose_fields(camera.camera_to_ego),
            "camera_intrinsic": camera.intrinsics.tolist(), "camera_distortion": [0.0] * 5,
        }
    )  # fmt: skip
    tables["ego_pose"].append({"token": ego, "timestamp": time, **pose_fields(picture.ego_to_global), "speed": 0.0})
    # Image file
    file = f"samples/{camera.channel}/lab-{street}__{camera.channel}__{time}.jpg"
    with atomic_file(root / file) as stream:
        Image.fromarray(picture.image).save(stream, format="JPEG", quality=JPEG_QUALITY)
    # Sample and its data
    height, width = camera.size
    tables["sample"].append(
        {
            "token": token("sample", *key),
            "timestamp": time,
            "log_token": log,
            "key_camera_token": data,
            "key_lidar_token": "",
        }
    )
    tables["sample_data"].append(
        {
            "token": data, "sample_token": token("sample", *key), "ego_pose_token": ego,
            "calibrated_sensor_token": calibration, "filename": file, "fileformat": "jpg", "width": width,
            "height": height, "timestamp": time, "is_key_frame": True, "next": "", "prev": "",
        }
    )  # fmt: skip
    _add_masks(tables, data, picture)


def _add_masks(tables: dict[str, list[dict[str, Any]]], data: str, picture: Picture) -> None:
    names = tuple(MERGED)
    for label, instance in sorted(
        {(int(c), int(i)) for c, i in zip(picture.classes.ravel(), picture.instances.ravel())}
    ):
        if label >= len(names) or names[label] not in CLASSES:
            continue
        mask = (picture.instances == instance) & (picture.classes == label)
        rows, columns = np.nonzero(mask)
        row = {
            "token": token("ann", data, label, instance), "sample_data_token": data,
            "category_token": token("category", MERGED[names[label]][0]),
            "mask": {"size": list(mask.shape), "counts": encode(mask)},
        }  # fmt: skip
        if names[label] in SURFACES:
            tables["surface_ann"].append(row)
            continue
        box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        tables["object_ann"].append(row | {"attribute_tokens": [], "bbox": box})
