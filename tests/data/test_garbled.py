"""Any field of any table may be garbled: one sentence with the file comes of it, or nothing, never a traceback."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.nerfstudio_capture import write as write_capture
from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.errors import InputError
from labelfree_lab.layouts.nuimages import write_nuimages
from labelfree_lab.layouts.nuscenes import write_nuscenes
from labelfree_lab.streets.route import DriveSize

GARBAGE: tuple[Any, ...] = (None, "x", [], {"a": 1}, 1e400, -1, [None] * 3, [0, 0, 0, 0])
NO_NUMBERS: tuple[Any, ...] = (math.inf, -math.inf, math.nan, "nan", True, 1e308, 2**63, 10**400, [10**400] * 9)
SMALL = DriveSize(key_frames=2, image_size=(24, 40), azimuths=60)


def use(root: Path, options: ReadOptions) -> None:
    """Everything that `prepare` and `check` look at, and a scene's files."""
    scenes = open_scenes(root, options=options)
    for source in scenes.sources:
        for fault in source.faults():
            assert "\n" not in fault
    for frame in scenes[len(scenes) - 1].frames:
        frame.load_image()
        frame.load_depth_m()
        frame.load_labels()


def survives(root: Path, options: ReadOptions, what: str) -> None:
    said = ""
    try:
        use(root, options)
    except InputError as error:
        said = str(error)
    except Exception as error:
        raise AssertionError(f"{what} ended in a traceback") from error
    assert not said or (str(root) in said and "\n" not in said), f"{what}: {said}"


def changed(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field of a row taken out, then replaced by each kind of garbage."""
    for key in row:
        yield f"without {key}", {name: value for name, value in row.items() if name != key}
        for garbage in GARBAGE + NO_NUMBERS * (not isinstance(row[key], str)):
            yield f"{key} = {str(garbage)[:60]}", row | {key: garbage}
        for inside, value in nested(row[key]):
            yield f"{key}: {inside}", row | {key: value}


def nested(value: Any) -> Iterator[tuple[str, Any]]:
    """The first number inside of lists and objects, replaced by what is none."""
    place = next(iter(value), None) if isinstance(value, dict) else 0 if isinstance(value, list) and value else None
    keys = value if isinstance(value, dict) else [] if place is None else [place]
    for key in keys:
        garbled = nested(value[key])
        if not isinstance(value[key], (str, list, dict)):
            garbled = ((str(garbage)[:60], garbage) for garbage in NO_NUMBERS)
        for what, garbage in garbled:
            copy = value.copy()
            copy[key] = garbage
            yield f"{key} = {what}", copy


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("layout", ["nuscenes", "nuimages"])
def test_tables(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "tree"
    if layout == "nuscenes":
        write_nuscenes(root, 3, 2, SMALL)
        version, options = root / "v1.0-trainval", ReadOptions(every=2)
    else:
        write_nuimages(root, 3, 2, SMALL)
        version, options = root / "v1.0-val", ReadOptions(split="val")
    for path in sorted(version.glob("*.json")):
        text = path.read_text()
        for garbled in ("", "[]", "{}", "null", "[1]", "[{}]", text[: len(text) // 2]):
            path.write_text(garbled)
            survives(root, options, f"{path.name} = {garbled[:20]!r}")
        rows = json.loads(text)
        for place in {0, len(rows) - 1} if rows else ():
            for what, row in changed(rows[place]):
                path.write_text(json.dumps([*rows[:place], row, *rows[place + 1 :]]))
                survives(root, options, f"{path.name}, row {place}: {what}")
        path.write_text(text)
    use(root, options)


@pytest.mark.filterwarnings("error", "default::labelfree.errors.DataWarning")
def test_transforms(tmp_path: Path) -> None:
    root = tmp_path / "scan"
    stated = write_capture(root)
    stated |= {"applied_scale": 1.0, "depth_unit_scale_factor": 0.001, "k1": 0.0, "camera_angle_x": 1.0}
    whole = [data for _, data in changed(stated)]
    frames = [stated | {"frames": [frame, *stated["frames"][1:]]} for _, frame in changed(stated["frames"][0])]
    singular = stated["frames"][0] | {"transform_matrix": [[0.0] * 4] * 4}
    for data in (*whole, *frames, stated | {"frames": [singular]}, [], {"frames": [1]}):
        (root / "transforms.json").write_text(json.dumps(data))
        survives(root, ReadOptions(), json.dumps(data)[:200])
