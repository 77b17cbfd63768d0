from __future__ import annotations

from pathlib import Path

import pytest

from helpers.viewed_run import make_run


@pytest.fixture(scope="session")
def viewed(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder on one room, with random networks."""
    return make_run(tmp_path_factory.mktemp("viewed") / "run", room)
