"""Scenes that are prepared for training on first access and cached in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar, overload

from torch.utils.data import get_worker_info

from labelfree.data.collection import SceneCollection
from labelfree.scene import Scene


class PreparedScene(Protocol):
    """A scene prepared for training."""

    @property
    def name(self) -> str:
        """Return the scene's name."""

    def nbytes(self) -> int:
        """Return the size in memory in bytes."""


SceneT = TypeVar("SceneT", bound=PreparedScene)


class PreparedScenes(Sequence[SceneT]):
    """Scenes prepared for training on first access; the last ones prepared stay in memory up to a budget.

    Worker processes divide the budget among them.
    """

    def __init__(self, scenes: Sequence[Scene], memory_gb: float = 4.0) -> None:
        self.scenes = scenes
        self._budget = memory_gb * 1e9
        self._kept: dict[int, SceneT] = {}
        self._bytes = 0
        self.overflowed = False
        """Whether a scene had to leave memory, so that it will be prepared again."""

    def build(self, scene: Scene) -> SceneT:
        """Return one scene prepared for training."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.scenes)

    @overload
    def __getitem__(self, index: int) -> SceneT: ...

    @overload
    def __getitem__(self, index: slice) -> list[SceneT]: ...

    def __getitem__(self, index: int | slice) -> SceneT | list[SceneT]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index not in self._kept:
            self._kept[index] = self.build(self.scenes[index])
            self._bytes += self._kept[index].nbytes()
            while len(self._kept) > 1 and self._bytes > self._share():
                self.overflowed = True
                self._bytes -= self._kept.pop(next(iter(self._kept))).nbytes()
        return self._kept[index]

    def _share(self) -> float:
        """Return the bytes that this process may keep: workers divide the budget among them."""
        worker = get_worker_info()
        return self._budget if worker is None else self._budget / worker.num_workers


def scene_names(scenes: Sequence[PreparedScene]) -> tuple[str, ...]:
    """Return the names of training scenes without preparing them; those of a dataset are not even read."""
    held = scenes.scenes if isinstance(scenes, PreparedScenes) else scenes
    return held.names if isinstance(held, SceneCollection) else tuple(scene.name for scene in held)
