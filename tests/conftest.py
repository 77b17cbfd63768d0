from __future__ import annotations

from pathlib import Path

import pytest

from labelfree_lab.rooms.dataset import LabSize, write_room


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rendered room with four views, in the posed RGB-D layout."""
    folder = tmp_path_factory.mktemp("captures") / "room"
    write_room(folder, room_seed=77, views=4, size=LabSize())
    return folder
