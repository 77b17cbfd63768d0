"""Convert nuScenes' tables to arrays once, and memory-map them afterwards."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.data.nuscenes.kept import load_arrays, save_arrays
from labelfree.data.nuscenes.metadata import Record, field, small_table, text_field
from labelfree.data.nuscenes.records import intrinsics_of, pose_of, read_poses, read_readings
from labelfree.data.nuscenes.tokens import TokenTable, pack, unpack
from labelfree.data.poses import quaternion_rotation
from labelfree.errors import InputError
from labelfree.files.names import require_safe_name

LIDAR = "LIDAR_TOP"
CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
TABLES = ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")
"""Tables that are read; annotations and maps are not."""
CACHED_FROM_BYTES = 1 << 26
"""Total size of the tables, in bytes, from which the index is cached."""
FORMAT = 3
"""Format version of the cached arrays."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of an index: S samples, D sensor readings, C calibrations, N characters.

    Readings of key frames come first, ordered by sample, so that iterating over key frames reads few pages.
    """

    sample_tokens: NDArray[np.uint64]  # [S, 2] by scene, then time
    sample_scene: NDArray[np.int32]  # [S]
    sample_order: NDArray[np.int32]  # [S] position in its scene
    key_rows: NDArray[np.int32]  # [S, channels] reading of each sensor at the key frame, -1 = none
    data_tokens: NDArray[np.uint64]  # [D, 2]
    data_time: NDArray[np.int64]  # [D] microseconds
    data_pose: NDArray[np.float64]  # [D, 7] translation in metres, rotation w x y z: ego to global
    data_calibration: NDArray[np.int32]  # [D]
    data_size: NDArray[np.uint16]  # [D, 2] height, width; 0 for LiDAR
    data_file: NDArray[np.int64]  # [D + 1] where the file names begin
    file_names: NDArray[np.uint8]  # [N] UTF-8
    by_time: NDArray[np.int32]  # [D] readings by channel, then time
    channel_start: NDArray[np.int64]  # [channels + 1] where each channel begins in by_time
    calibrations: NDArray[np.float64]  # [C, 7] sensor to ego
    intrinsics: NDArray[np.float64]  # [C, 3, 3], zeros for LiDAR


@dataclass(frozen=True, eq=False)
class NuScenesIndex:
    """Scenes, key frames and sensor readings, without a Python object per row."""

    root: Path
    version: str
    scenes: tuple[str, ...]
    channels: tuple[str, ...]
    arrays: Arrays

    def __len__(self) -> int:
        return len(self.arrays.sample_scene)

    @cached_property
    def lidar(self) -> int:
        """Return the channel of the LiDAR."""
        return self._channel(LIDAR)

    @cached_property
    def cameras(self) -> tuple[int, ...]:
        """Return the channels of the six cameras."""
        return tuple(self._channel(name) for name in CAMERAS)

    def _channel(self, name: str) -> int:
        if name not in self.channels:
            raise InputError(
                f"{self.root / self.version / 'sensor.json'}: has no sensor {name}; unpack the metadata archive again."
            )
        return self.channels.index(name)

    def sample_name(self, sample: int) -> str:
        """Return a scene name such as `scene-0061-007`: the drive and the key frame's number in it."""
        return f"{self.scenes[int(self.arrays.sample_scene[sample])]}-{int(self.arrays.sample_order[sample]):03d}"

    def reading(self, sample: int, channel: int) -> int:
        """Return the row of a sensor's reading at a key frame; raises an `InputError` if it is missing."""
        row = int(self.arrays.key_rows[sample, channel])
        if row < 0:
            token = unpack(self.arrays.sample_tokens[sample])
            raise InputError(
                f"{self.root / self.version / 'sample_data.json'}: sample {token} has no key frame of "
                f"{self.channels[channel]}; unpack the metadata archive again."
            )
        return row

    def sweeps(self, sample: int, channel: int) -> NDArray[np.int32]:
        """Return a sensor's readings after the previous key frame, up to and including this one's."""
        own, start, end = self.arrays, *self.arrays.channel_start[channel : channel + 2]
        readings = own.by_time[start:end]
        times = own.data_time[readings]
        now = own.data_time[self.reading(sample, channel)]
        first = int(own.sample_order[sample]) == 0
        before = np.iinfo(np.int64).min if first else own.data_time[self.reading(sample - 1, channel)]
        found: NDArray[np.int32] = readings[
            np.searchsorted(times, before, "right") : np.searchsorted(times, now, "right")
        ]
        # Drives overlap in time: the calibration of this drive tells its readings from others.
        mounted = own.data_calibration[self.reading(sample, channel)]
        return found[own.data_calibration[found] == mounted]

    def file(self, row: int) -> Path:
        """Return the file of a reading."""
        start, end = self.arrays.data_file[row : row + 2]
        return self.root / bytes(self.arrays.file_names[start:end]).decode("utf-8")

    def token(self, row: int) -> str:
        """Return the token of a reading."""
        return unpack(self.arrays.data_tokens[row])

    def ego_to_global(self, row: int) -> NDArray[np.float64]:  # [4, 4]
        """Return the vehicle's pose in the world, in metres, at the time of a reading."""
        return rigid(self.arrays.data_pose[row])

    def sensor_to_ego(self, row: int) -> NDArray[np.float64]:  # [4, 4]
        """Return the pose of a reading's sensor in the vehicle's frame, in metres."""
        return rigid(self.arrays.calibrations[self.arrays.data_calibration[row]])


def rigid(pose: NDArray[np.float64]) -> NDArray[np.float64]:  # [7] -> [4, 4]
    """Return the transform of a translation x y z and a quaternion w x y z."""
    transform = np.eye(4)
    transform[:3, :3] = quaternion_rotation(pose[3:])
    transform[:3, 3] = pose[:3]
    return transform


def open_index(root: Path, version: str) -> NuScenesIndex:
    """Return the index of a version's tables, from the user's cache if the tables are unchanged.

    Raises an `InputError` if a table is missing or contradictory.
    """
    folder = root / version
    files = [folder / f"{name}.json" for name in TABLES]
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        raise InputError(f"{missing}: this table is missing; unpack the dataset's metadata archive again.")
    if sum(path.stat().st_size for path in files) < CACHED_FROM_BYTES:
        return build_index(root, version)
    kept = _cache_folder() / f"nuscenes-{_digest(files)}"
    index = load_index(root, version, kept)
    if index is not None:
        return index
    index = build_index(root, version)
    try:
        save_index(index, kept)
    except (OSError, InputError):  # the cache cannot be written: build the index each time
        return index
    return load_index(root, version, kept) or index


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "labelfree"


def _digest(files: list[Path]) -> str:
    facts = [FORMAT, *((str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def save_index(index: NuScenesIndex, folder: Path) -> None:
    """Write an index to a folder and replace its previous content."""
    arrays = {each.name: getattr(index.arrays, each.name) for each in fields(Arrays)}
    save_arrays(folder, {"scenes": index.scenes, "channels": index.channels}, arrays)


def load_index(root: Path, version: str, folder: Path) -> NuScenesIndex | None:
    """Return a cached index with memory-mapped arrays; None if it is missing or damaged."""
    found = load_arrays(folder, [each.name for each in fields(Arrays)])
    if found is None:
        return None
    names, arrays = found
    return NuScenesIndex(root, version, tuple(names["scenes"]), tuple(names["channels"]), Arrays(**arrays))


def build_index(root: Path, version: str) -> NuScenesIndex:
    """Build the index from the tables; raises an `InputError` that names the first contradiction."""
    folder = root / version
    scenes, samples = (small_table(folder / f"{name}.json") for name in ("scene", "sample"))
    path, where = folder / "calibrated_sensor.json", folder / "sample_data.json"
    mounted = small_table(path)
    channels, calibration_channel = _channels(folder, path, mounted)

    # Order the samples
    names = _scene_names(folder / "scene.json", scenes)
    ordered = _ordered_samples(folder, scenes, samples)
    scene_rank = {token: rank for rank, token in enumerate(scenes)}
    sample_scene = np.array([scene_rank[samples[token]["scene_token"]] for token in ordered], np.int32)

    # Join the readings
    pose_tokens, poses = read_poses(folder / "ego_pose.json")
    data = read_readings(where)
    data_pose = TokenTable.of(folder / "ego_pose.json", pose_tokens).rows(data.poses, where)
    data_calibration = TokenTable.of(path, pack(list(mounted), path)).rows(data.calibrations, where)
    sample_tokens = pack(ordered, folder / "sample.json")
    data_sample = TokenTable.of(folder / "sample.json", sample_tokens).rows(data.samples, where)
    TokenTable.of(where, data.tokens)

    # Sort the readings
    key_frames_first = np.lexsort((calibration_channel[data_calibration], data_sample, ~data.is_key))
    data = data.ordered(key_frames_first)
    data_pose, data_calibration = data_pose[key_frames_first], data_calibration[key_frames_first]
    data_sample, channel = data_sample[key_frames_first], calibration_channel[data_calibration]

    key_rows = _key_rows(where, data.is_key, data_sample, channel, (len(ordered), len(channels)))
    by_time = np.lexsort((data.times, channel)).astype(np.int32)
    arrays = Arrays(
        sample_tokens=sample_tokens,
        sample_scene=sample_scene,
        sample_order=_order_in_scene(sample_scene),
        key_rows=key_rows,
        data_tokens=data.tokens,
        data_time=data.times,
        data_pose=poses[data_pose],
        data_calibration=data_calibration,
        data_size=data.sizes,
        data_file=data.file_starts,
        file_names=data.file_names,
        by_time=by_time,
        channel_start=np.searchsorted(channel[by_time], np.arange(len(channels) + 1)),
        calibrations=np.array([pose_of(path, row) for row in mounted.values()]).reshape(-1, 7),
        intrinsics=np.array([intrinsics_of(path, row) for row in mounted.values()]).reshape(-1, 3, 3),
    )
    return NuScenesIndex(root, version, names, channels, arrays)


def _channels(
    folder: Path, path: Path, mounted: dict[str, Record]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:  # [calibrations]
    """Return the names of the channels, and the channel of each calibration of the table `path`."""
    sensors = small_table(folder / "sensor.json")
    channels = tuple(dict.fromkeys(text_field(folder / "sensor.json", row, "channel") for row in sensors.values()))
    channel_of = {token: channels.index(str(row["channel"])) for token, row in sensors.items()}
    try:
        return channels, np.array([channel_of[text_field(path, row, "sensor_token")] for row in mounted.values()], int)
    except KeyError as error:
        raise InputError(
            f"{path}: refers to sensor {error}, which sensor.json does not have; unpack the metadata archive again."
        ) from error


def _scene_names(path: Path, scenes: dict[str, Record]) -> tuple[str, ...]:
    names = tuple(_scene_name(path, row) for row in scenes.values())
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: two scenes are named '{twice}'; unpack the metadata archive again.")
    return names


def _order_in_scene(scene: NDArray[np.int32]) -> NDArray[np.int32]:  # [samples], [samples]
    """Return the number of each sample within its scene, for samples sorted by scene."""
    starts = np.r_[0, np.flatnonzero(np.diff(scene)) + 1] if len(scene) else np.zeros(0, int)
    order = np.arange(len(scene)) - np.repeat(starts, np.diff(np.r_[starts, len(scene)]))
    return order.astype(np.int32)


def _key_rows(
    where: Path,
    is_key: NDArray[np.bool_],  # [readings]
    sample: NDArray[np.integer],  # [readings]
    channel: NDArray[np.integer],  # [readings]
    shape: tuple[int, int],
) -> NDArray[np.int32]:  # [samples, channels], -1 = none
    """Return the reading that is the key frame of each sample and channel."""
    key_rows = np.full(shape, -1, np.int32)
    keys = np.flatnonzero(is_key)
    if len(np.unique(sample[keys].astype(np.int64) * shape[1] + channel[keys])) != len(keys):
        raise InputError(f"{where}: a sensor has two key frames at one sample; unpack the metadata archive again.")
    key_rows[sample[keys], channel[keys]] = keys
    return key_rows


def _scene_name(path: Path, row: Record) -> str:
    return require_safe_name(text_field(path, row, "name"), f"{path}: the name of scene {row['token']}")


def _ordered_samples(folder: Path, scenes: dict[str, Record], samples: dict[str, Record]) -> list[str]:
    """Return the sample tokens in order, by following each scene's chain.

    Raises an `InputError` if a chain contains a loop, a foreign sample or another number of samples than stated.
    """
    ordered: list[str] = []
    path = folder / "sample.json"
    for scene in scenes.values():
        chain: dict[str, None] = {}
        token = str(field(folder / "scene.json", scene, "first_sample_token"))
        while token:
            if token in chain:
                raise InputError(
                    f"{path}: the 'next' chain of scene {scene['name']} returns to {token}; unpack the metadata "
                    "archive again."
                )
            if token not in samples or samples[token].get("scene_token") != scene["token"]:
                raise InputError(
                    f"{path}: the 'next' chain of scene {scene['name']} contains {token}, which is not a sample of the "
                    "scene; unpack the metadata archive again."
                )
            chain[token] = None
            token = str(field(path, samples[token], "next"))
        stated = scene.get("nbr_samples", len(chain))
        if stated != len(chain):
            raise InputError(
                f"{path}: scene {scene['name']} has {len(chain)} samples, scene.json states {stated}; unpack the "
                "metadata archive again."
            )
        ordered += chain
    if len(ordered) != len(samples):
        taken = set(ordered)
        left = next(token for token in samples if token not in taken)
        raise InputError(f"{path}: sample {left} belongs to no scene's chain; unpack the metadata archive again.")
    return ordered
