from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from helpers.process_group import ProcessGroup
from helpers.ray_nodes import two_nodes
from labelfree_lab.rooms.dataset import LabSize, write_room

SHARED = ("ray_address", "process_group")
"""Fixtures that start processes; files that use one of them run in one worker of pytest-xdist, which starts it once."""


@cache
def shared_fixture(path: Path) -> str | None:
    text = path.read_text(encoding="utf-8")
    return next((name for name in SHARED if f"{name}: " in text), None)


class TogetherScheduling(LoadFileScheduling):  # type: ignore[misc]
    """Keep the tests of a file together, and the files that share processes."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return shared_fixture(self.config.rootpath / file) or file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> TogetherScheduling | None:
    return TogetherScheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rendered room with four views, in the posed RGB-D layout."""
    folder = tmp_path_factory.mktemp("captures") / "room"
    write_room(folder, room_seed=77, views=4, size=LabSize())
    return folder


@pytest.fixture(scope="session")
def process_group() -> Iterator[ProcessGroup]:
    """Two processes that train together, started once: each takes seconds to import PyTorch."""
    group = ProcessGroup()
    yield group
    group.end()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread: with more, sums are added in another order, and a pair of networks shares them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Compute with two threads, so that the two networks train side by side; `make test` gives each process one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """The address of a Ray cluster of two nodes on this machine."""
    with pytest.MonkeyPatch.context() as patch, two_nodes(patch) as address:
        yield address
