"""Labelling before training: several processes share the frames, and training then reads the teachers' cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labelfree.runtime.progress import Progress
from labelfree.runtime.together import shared_parts, together
from labelfree.scene import Scene
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.teachers import Teachers

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SCENES_PER_PROCESS = 4
"""Least number of scenes per process that are shared whole; of fewer scenes, parts are shared."""
FRAMES_PER_PART = 8
"""Frames of a part of a scene."""


@dataclass(frozen=True)
class Part:
    """Frames of a scene that one process labels."""

    scene: int
    first: int = 0
    last: int | None = None


def label_scenes(fabric: Fabric, scenes: Sequence[Scene], teachers: Teachers) -> None:
    """Run both teachers on every frame, so that training only reads their cache.

    Several processes share the frames; each takes the next part when it is free. Teachers without a cache label in
    each process on first access instead, since their outputs cannot be shared.
    """
    if fabric.world_size == 1:
        label_frames(scenes, teachers, fabric.device)
        return
    if teachers.cache is None:
        return
    parts = shares(scenes, fabric.world_size)
    with (
        Progress("label", len(parts), enabled=fabric.is_global_zero) as progress,
        shared_parts(fabric, len(parts)) as mine,
        together(fabric),
    ):
        for number in mine:
            part = parts[number]
            scene = scenes[part.scene]
            if frames := scene.frames[part.first : part.last]:
                label_frames([replace(scene, frames=frames)], teachers, fabric.device, shown=False)
            progress.done = number  # others have taken the parts before it
            progress.advance()
        progress.done = len(parts)


def shares(scenes: Sequence[Scene], processes: int) -> list[Part]:
    """Return the parts that processes share: whole scenes, which are then built once, unless there are few of them."""
    if len(scenes) >= SCENES_PER_PROCESS * processes:
        return [Part(index) for index in range(len(scenes))]
    return [
        Part(index, first, first + FRAMES_PER_PART)
        for index in range(len(scenes))
        for first in range(0, len(scenes[index].frames), FRAMES_PER_PART)
    ]
