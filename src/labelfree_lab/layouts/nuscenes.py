"""Streets in nuScenes' layout: thirteen tables, samples, sweeps and lidarseg."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.data.nuscenes.index import LIDAR
from labelfree.data.nuscenes.lidarseg import MERGED, RAW_IDS
from labelfree.data.poses import rotation_quaternion
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file, atomic_folder, write_text
from labelfree.runtime.progress import Progress
from labelfree_lab.streets.drive import Drive, KeyFrame, Picture, Rig, Sweep
from labelfree_lab.streets.route import DriveSize, street_drive

VERSION = "v1.0-trainval"
HELD_OUT_SHARE = 0.25
"""Share of the drives, at least one, that `splits/val.txt` lists; `splits/train.txt` lists the others."""
JPEG_QUALITY = 92


def write_nuscenes(folder: Path, seed: int, scenes: int, size: DriveSize | None = None) -> None:
    """Write the drives of an experiment seed into a new folder.

    Raises an `InputError` if `scenes` is below 2 or if the folder is not empty.
    """
    if scenes < 2:
        raise InputError(f"--scenes is {scenes}: give 2 or more, one of them is held out.")
    with Progress("drive", scenes) as progress:
        drives = (street_drive(seed, index, size) for index in range(scenes))
        write_drives(folder, drives, max(1, round(scenes * HELD_OUT_SHARE)), progress)


def write_drives(folder: Path, drives: Iterable[Drive], held_out: int, progress: Progress | None = None) -> None:
    """Write drives, the last `held_out` of them as the val split; the folder appears when it is complete.

    Raises an `InputError` if the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: already exists; choose another --out or delete it.")
    with atomic_folder(folder) as made:
        tables = _Tables(made)
        names = []
        for drive in drives:
            tables.add_drive(drive)
            names.append(drive.name)
            if progress is not None:
                progress.advance()
        tables.write()
        write_text(made / "splits" / "train.txt", "\n".join(names[:-held_out]) + "\n")
        write_text(made / "splits" / "val.txt", "\n".join(names[-held_out:]) + "\n")
        (made / "maps").mkdir()


def token(*parts: object) -> str:
    """Return a token of 32 hexadecimal digits, the MD5 of its parts."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def raw_ids(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [N]
    """Return lidarseg's raw ids of benchmark classes; 255 becomes noise, 0."""
    table = np.zeros(256, np.uint8)
    for number, names in enumerate(MERGED.values()):
        table[number] = RAW_IDS[names[0]]
    return table[classes]


@dataclass
class _Tables:
    """The tables of a dataset that is being written."""

    folder: Path
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: str, row: dict[str, Any]) -> str:
        """Add a row to a table and return its token."""
        self.rows.setdefault(table, []).append(row)
        return str(row["token"])

    def add_drive(self, drive: Drive) -> None:
        """Write the files of a drive and add its rows to the tables."""
        # Log and sensors
        name = drive.name
        log = self.add(
            "log",
            {
                "token": token("log", name), "logfile": f"lab-{name}", "vehicle": "lab", "date_captured": "2018-07-01",
                "location": "lab",
            },
        )  # fmt: skip
        calibrations = self._calibrations(name, drive.rig)
        # Key frames
        scene = token("scene", name)
        keys: list[str] = [token("sample", name, index) for index in range(len(drive))]
        chains: dict[str, list[dict[str, Any]]] = {}
        for index, key in enumerate(drive):
            self.add(
                "sample",
                {
                    "token": keys[index], "timestamp": key.sweep.timestamp_us, "prev": keys[index - 1] if index else "",
                    "next": keys[index + 1] if index + 1 < len(keys) else "", "scene_token": scene,
                },
            )  # fmt: skip
            later = keys[min(index + 1, len(keys) - 1)]
            for row in self._key_frame(name, key, keys[index], later, calibrations):
                chains.setdefault(row["calibrated_sensor_token"], []).append(row)
        # Links between the readings of a sensor
        for chain in chains.values():
            for place, row in enumerate(chain):
                row["prev"] = chain[place - 1]["token"] if place else ""
                row["next"] = chain[place + 1]["token"] if place + 1 < len(chain) else ""
                self.add("sample_data", row)
        # Scene
        self.add(
            "scene",
            {
                "token": scene, "log_token": log, "nbr_samples": len(keys), "first_sample_token": keys[0],
                "last_sample_token": keys[-1], "name": name, "description": "a street of the lab",
            },
        )  # fmt: skip

    def _calibrations(self, name: str, rig: Rig) -> dict[str, str]:
        """Add the sensors of a drive; return their calibration tokens by channel."""
        mounted: list[tuple[str, str, NDArray[np.float64], list[list[float]]]] = [
            (LIDAR, "lidar", rig.lidar_to_ego, [])
        ]
        mounted += [(c.channel, "camera", c.camera_to_ego, c.intrinsics.tolist()) for c in rig.cameras]
        found = {}
        for channel, modality, pose, intrinsics in mounted:
            sensor = token("sensor", channel)
            if all(row["token"] != sensor for row in self.rows.get("sensor", [])):
                self.add("sensor", {"token": sensor, "channel": channel, "modality": modality})
            row = {"token": token("calibrated_sensor", name, channel), "sensor_token": sensor, **pose_fields(pose)}
            found[channel] = self.add("calibrated_sensor", row | {"camera_intrinsic": intrinsics})
        return found

    def _key_frame(
        self, name: str, key: KeyFrame, sample: str, later: str, calibrations: dict[str, str]
    ) -> Iterable[dict[str, Any]]:
        yield self._lidar(name, key.sweep, sample, calibrations[LIDAR], is_key=True)
        for picture in key.pictures:
            yield self._picture(name, picture, sample, calibrations[picture.camera.channel])
        for sweep in key.later_sweeps:
            yield self._lidar(name, sweep, later, calibrations[LIDAR], is_key=False)

    def _reading(
        self, name: str, channel: str, time: int, pose: NDArray[np.float64], sample: str, calibration: str
    ) -> dict[str, Any]:
        ego = self.add(
            "ego_pose", {"token": token("ego_pose", name, channel, time), "timestamp": time, **pose_fields(pose)}
        )
        return {
            "token": token("sample_data", name, channel, time), "sample_token": sample, "ego_pose_token": ego,
            "calibrated_sensor_token": calibration, "timestamp": time,
        }  # fmt: skip

    def _lidar(self, name: str, sweep: Sweep, sample: str, calibration: str, is_key: bool) -> dict[str, Any]:
        time = sweep.timestamp_us
        row = self._reading(name, LIDAR, time, sweep.ego_to_global, sample, calibration)
        file = f"{'samples' if is_key else 'sweeps'}/{LIDAR}/lab-{name}__{LIDAR}__{time}.pcd.bin"
        values = np.column_stack([sweep.points, sweep.intensity, sweep.ring]).astype(np.float32)
        with atomic_file(self.folder / file) as stream:
            stream.write(values.tobytes())
        if is_key:
            labels = f"lidarseg/{VERSION}/{row['token']}_lidarseg.bin"
            with atomic_file(self.folder / labels) as stream:
                stream.write(raw_ids(sweep.classes).tobytes())
            self.add(
                "lidarseg",
                {"token": row["token"], "sample_data_token": row["token"], "filename": labels},
            )
        return row | {"fileformat": "pcd", "is_key_frame": is_key, "height": 0, "width": 0, "filename": file}

    def _picture(self, name: str, picture: Picture, sample: str, calibration: str) -> dict[str, Any]:
        channel, time = picture.camera.channel, picture.timestamp_us
        row = self._reading(name, channel, time, picture.ego_to_global, sample, calibration)
        file = f"samples/{channel}/lab-{name}__{channel}__{time}.jpg"
        with atomic_file(self.folder / file) as stream:
            Image.fromarray(picture.image).save(stream, format="JPEG", quality=JPEG_QUALITY)
        height, width = picture.camera.size
        return row | {"fileformat": "jpg", "is_key_frame": True, "height": height, "width": width, "filename": file}

    def write(self) -> None:
        """Write all tables; those of boxes are empty."""
        for name, index in RAW_IDS.items():
            self.add("category", {"token": token("category", name), "name": name, "description": "", "index": index})
        self.add(
            "map",
            {
                "token": token("map"), "log_tokens": [row["token"] for row in self.rows["log"]],
                "category": "semantic_prior", "filename": "",
            },
        )  # fmt: skip
        for table in ("attribute", "instance", "sample_annotation", "visibility"):
            self.rows[table] = []
        for table, rows in self.rows.items():
            write_text(self.folder / VERSION / f"{table}.json", json.dumps(rows, indent=0) + "\n")


def pose_fields(matrix: NDArray[np.float64]) -> dict[str, list[float]]:
    """Return a rigid transform [4, 4] as the tables' translation and rotation."""
    return {"translation": matrix[:3, 3].tolist(), "rotation": rotation_quaternion(matrix[:3, :3]).tolist()}
