"""Rooms of the lab in ScanNet's layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from labelfree_lab.layouts.scannet import write_scannet


@pytest.fixture(scope="package")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scannet") / "tree"
    write_scannet(folder, 7, 2, views=3)
    return folder


@pytest.fixture
def tree(written: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(written, tmp_path / "tree"))


@pytest.fixture
def by_sens(tree: Path) -> Path:
    """A copy without scannet_frames_25k, so that frames come out of the .sens files."""
    shutil.rmtree(tree / "scannet_frames_25k")
    return tree
