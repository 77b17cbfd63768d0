"""A street of the lab in nuScenes' layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from labelfree_lab.layouts.nuscenes import write_nuscenes
from labelfree_lab.streets.route import DriveSize

SIZE = DriveSize(key_frames=3, image_size=(42, 78), azimuths=90)


@pytest.fixture(scope="package")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street") / "nuscenes"
    write_nuscenes(folder, 5, 2, SIZE)
    return folder


@pytest.fixture
def tree(written: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(written, tmp_path / "nuscenes"))
