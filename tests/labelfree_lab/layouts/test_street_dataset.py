from __future__ import annotations

from pathlib import Path

import pytest

from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.errors import InputError
from labelfree_lab.layouts.nuimages import FIRST_STREET
from labelfree_lab.layouts.street_dataset import HELD_OUT_OFFSET, StreetFolders, StreetSize, write_streets

SIZE = StreetSize(train_drives=1, train_key_frames=2, held_out_drives=2, image_size=(24, 40), azimuths=30)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StreetFolders]:
    folder = tmp_path_factory.mktemp("streets")
    return folder, write_streets(folder, 3, SIZE)


def test_the_splits_are_of_other_streets(written: tuple[Path, StreetFolders]) -> None:
    folders = written[1]
    train, val = (open_scenes(folders.nuscenes, options=ReadOptions(split=split)) for split in ("train", "val"))
    assert train.names == ("street-0000-000", "street-0000-001")
    assert val.names == tuple(f"street-{HELD_OUT_OFFSET + index:04d}-000" for index in range(2))
    pictures = open_scenes(folders.nuimages, options=ReadOptions(split="val"))
    streets = {name.split("__")[0] for name in pictures.names}
    assert len(pictures) == 12
    assert streets == {f"lab-street-{FIRST_STREET + index:04d}" for index in range(2)}


def test_key_frames_are_seconds_apart(written: tuple[Path, StreetFolders]) -> None:
    times = sorted(
        int(path.name.split("__")[2].split(".")[0])
        for path in (written[1].nuscenes / "samples" / "LIDAR_TOP").glob("lab-street-0000__*")
    )
    assert times[1] - times[0] == 2_000_000
    sweeps = sorted((written[1].nuscenes / "sweeps").rglob("*.bin"))
    between = [int(path.name.split("__")[2].split(".")[0]) - times[0] for path in sweeps]
    assert between == [2_000_000 // 3, 2 * 2_000_000 // 3]


def test_what_is_there_stays_and_another_lab_is_refused(written: tuple[Path, StreetFolders]) -> None:
    folder, folders = written
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_streets(folder, 3, SIZE) == folders
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(InputError, match="the folder holds another lab"):
        write_streets(folder, 4, SIZE)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"train_drives": 0}, "1 to 250 drives"),
        ({"held_out_drives": 251}, "1 to 250 drives"),
        ({"train_key_frames": 0}, "0 key frames"),
    ],
)
def test_sizes_that_make_no_lab(numbers: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StreetSize(**numbers)  # type: ignore[arg-type]
