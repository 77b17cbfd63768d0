"""Tables of nuScenes' real size without its images, to measure their reading (benchmarks/nuscenes_index.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from labelfree.data.nuscenes.index import CAMERAS, LIDAR
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_folder, write_text
from labelfree_lab.layouts.nuscenes import VERSION, token

RADARS = ("RADAR_FRONT", "RADAR_FRONT_LEFT", "RADAR_FRONT_RIGHT", "RADAR_BACK_LEFT", "RADAR_BACK_RIGHT")
SAMPLES_PER_SCENE = 40
READINGS_PER_SAMPLE = {LIDAR: 11, **dict.fromkeys(CAMERAS, 6), **dict.fromkeys(RADARS, 6)}
"""Readings of each sensor from one key frame to the next: 77 in all, as trainval has (2,631,083 for 34,149)."""
KEY_FRAME_US = 500_000
SIZE = (9, 16)


def write_nuscenes_tables(folder: Path, scenes: int = 850) -> None:
    """Write the tables of `scenes` scenes of 40 key frames; all readings of a sensor share one small file.

    Raises an `InputError` if the folder exists.
    """
    if folder.exists():
        raise InputError(f"{folder}: already exists; choose another folder or delete it.")
    with atomic_folder(folder) as made:
        files = _write_files(made)
        channels = tuple(READINGS_PER_SAMPLE)
        version = made / VERSION
        version.mkdir()
        _write(version / "sensor.json", (_sensor(channel) for channel in channels))
        _write(version / "category.json", iter(()))
        _write(version / "calibrated_sensor.json", (_mounted(s, c) for s in range(scenes) for c in channels))
        _write(version / "scene.json", map(_scene, range(scenes)))
        _write(version / "sample.json", (_sample(s, k) for s in range(scenes) for k in range(SAMPLES_PER_SCENE)))
        _write(version / "ego_pose.json", (_pose(*reading) for reading in _readings(scenes)))
        _write(version / "sample_data.json", (_data(*reading, files) for reading in _readings(scenes)))


def _write_files(folder: Path) -> dict[str, str]:
    """Write one file for each sensor whose files are read; return the files' names, as long as nuScenes' names."""
    names = {}
    for channel in READINGS_PER_SAMPLE:
        ending = ".pcd.bin" if channel == LIDAR else ".pcd" if channel in RADARS else ".jpg"
        name = f"samples/{channel}/n015-2018-07-24-11-22-45+0800__{channel}__1532402927647951{ending}"
        names[channel] = name
        (folder / name).parent.mkdir(parents=True)
        if channel == LIDAR:
            np.random.default_rng(0).uniform(-40, 40, (34_000, 5)).astype(np.float32).tofile(folder / name)
        elif channel in CAMERAS:
            Image.new("RGB", (SIZE[1], SIZE[0])).save(folder / name)
    return names


def _write(path: Path, rows: Iterator[str]) -> None:
    first = next(rows, None)
    if first is None:
        write_text(path, "[]\n")
        return
    with path.open("w", encoding="utf-8") as file:
        file.write("[\n" + first)
        for row in rows:
            file.write(",\n" + row)
        file.write("\n]\n")


def _readings(scenes: int) -> Iterator[tuple[int, int, str, int]]:
    """Yield scene, key frame, sensor and number of each reading."""
    for scene in range(scenes):
        for key in range(SAMPLES_PER_SCENE):
            for channel, count in READINGS_PER_SAMPLE.items():
                for number in range(count):
                    yield scene, key, channel, number


def _id(kind: int, *parts: int) -> str:
    """Return a token without hashing, since millions are needed."""
    return f"{kind:04x}{parts[0]:08x}{parts[1] if len(parts) > 1 else 0:08x}{parts[2] if len(parts) > 2 else 0:012x}"


_CHANNEL = {channel: index for index, channel in enumerate(READINGS_PER_SAMPLE)}


def _reading_id(kind: int, scene: int, key: int, channel: str, number: int) -> str:
    return _id(kind, scene, key, _CHANNEL[channel] * 100 + number)


def _sensor(channel: str) -> str:
    modality = "lidar" if channel == LIDAR else "radar" if channel in RADARS else "camera"
    return f'{{\n"token": "{token("sensor", channel)}",\n"channel": "{channel}",\n"modality": "{modality}"\n}}'


def _mounted(scene: int, channel: str) -> str:
    matrix = "[[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]" if channel in CAMERAS else "[]"
    return (
        f'{{\n"token": "{_id(1, scene, _CHANNEL[channel])}",\n"sensor_token": "{token("sensor", channel)}",\n'
        f'"translation": [1.7, 0.0, 1.5],\n"rotation": [0.5, -0.5, 0.5, -0.5],\n"camera_intrinsic": {matrix}\n}}'
    )


def _scene(scene: int) -> str:
    return (
        f'{{\n"token": "{_id(2, scene)}",\n"log_token": "{_id(9, scene)}",\n"nbr_samples": {SAMPLES_PER_SCENE},\n'
        f'"first_sample_token": "{_id(3, scene, 0)}",\n"last_sample_token": "{_id(3, scene, SAMPLES_PER_SCENE - 1)}",\n'
        f'"name": "scene-{scene + 1:04d}",\n"description": "tables alone"\n}}'
    )


def _time(scene: int, key: int) -> int:
    return 1_530_000_000_000_000 + scene * 60_000_000 + key * KEY_FRAME_US


def _sample(scene: int, key: int) -> str:
    before = _id(3, scene, key - 1) if key else ""
    after = _id(3, scene, key + 1) if key + 1 < SAMPLES_PER_SCENE else ""
    return (
        f'{{\n"token": "{_id(3, scene, key)}",\n"timestamp": {_time(scene, key)},\n'
        f'"prev": "{before}",\n"next": "{after}",\n'
        f'"scene_token": "{_id(2, scene)}"\n}}'
    )


def _pose(scene: int, key: int, channel: str, number: int) -> str:
    return (
        f'{{\n"token": "{_reading_id(4, scene, key, channel, number)}",\n'
        f'"timestamp": {_time(scene, key) + number * 50_000},\n'
        f'"rotation": [\n0.5720320396729045,\n-0.0016977771610471074,\n0.011798001930183783,\n-0.8201446642457809\n],\n'
        f'"translation": [\n{411.3039349319818 + key},\n{1180.8903791765097 + number},\n0.0\n]\n}}'
    )


def _data(scene: int, key: int, channel: str, number: int, files: dict[str, str]) -> str:
    is_key, camera = number == 0, channel in CAMERAS
    height, width = SIZE if camera else (0, 0)
    own = _reading_id(5, scene, key, channel, number)
    return (
        f'{{\n"token": "{own}",\n"sample_token": "{_id(3, scene, key)}",\n'
        f'"ego_pose_token": "{_reading_id(4, scene, key, channel, number)}",\n'
        f'"calibrated_sensor_token": "{_id(1, scene, _CHANNEL[channel])}",\n'
        f'"timestamp": {_time(scene, key) + number * 50_000},\n"fileformat": "{"jpg" if camera else "pcd"}",\n'
        f'"is_key_frame": {"true" if is_key else "false"},\n"height": {height},\n"width": {width},\n'
        f'"filename": "{files[channel]}",\n"prev": "{own}",\n"next": ""\n}}'
    )
