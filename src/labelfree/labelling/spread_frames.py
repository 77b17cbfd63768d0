"""Label the frames of many scenes with workers in other processes, which all write the shared teacher cache.

The result is the cache that `label_frames` writes in one process, bit by bit: a worker computes with as many threads,
and labels the same frames side by side.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from labelfree.config.run_config import RunConfig
from labelfree.data.collection import SceneCollection
from labelfree.errors import InputError
from labelfree.runtime.crew import Crew, Done, raise_problem
from labelfree.runtime.devices import pick_device
from labelfree.runtime.progress import Progress
from labelfree.runtime.surroundings import Surroundings
from labelfree.scene import Scene
from labelfree.teachers.label_frames import label_frames
from labelfree.teachers.opening import load_teachers
from labelfree.teachers.teachers import Teachers
from labelfree.vocabulary import Vocabulary

LARGEST_PART = 16
"""Frames of a part; a larger one would make progress coarse."""
PARTS_PER_WORKER = 4
LARGEST_LOSS = 3
"""Number of workers that one part may end before the job ends."""


@dataclass(frozen=True)
class SceneFrames:
    """A scene's name and its number of frames."""

    name: str
    frames: int


@dataclass(frozen=True)
class Part:
    """A range of the frames of all scenes, counted through."""

    start: int
    stop: int


@dataclass(frozen=True)
class FrameWork:
    """Everything that a worker needs: paths and settings, no pixels. Called in the worker, it loads the teachers."""

    open_scenes: Callable[[], SceneCollection]
    """Open DATA again in the worker."""
    scenes: tuple[SceneFrames, ...]
    config: RunConfig
    vocabulary: Vocabulary
    cache: Path
    around: Surroundings
    device: str
    teachers: tuple[str, str]
    """Fingerprints of the driver's CLIP and SAM."""

    def __call__(self) -> Callable[[Part], None]:
        """Check that this machine computes what the driver would; return the function that labels a part."""
        self.around.enter()
        device = pick_device(self.device)
        teachers = load_teachers(self.config, self.vocabulary, self.cache, device)
        if fingerprints(teachers) != self.teachers:
            raise InputError(
                f"{socket.gethostname()} would compute with other weights or another number format of CLIP or SAM than "
                "the driver: start the command on a machine like the workers, or set "
                "--teachers.clip_options.precision=float32 and --teachers.sam_options.precision=float32."
            )
        collection = self.open_scenes()
        places = {name: place for place, name in enumerate(collection.names)}
        missing = next((scene.name for scene in self.scenes if scene.name not in places), None)
        if missing is not None:
            raise InputError(f"{socket.gethostname()} does not see scene '{missing}' of the driver: share DATA too.")

        def label(part: Part) -> None:
            mine = [
                _frames_of(collection[places[name]], start, stop) for name, start, stop in slices(self.scenes, part)
            ]
            label_frames(mine, teachers, device)

        return label


def label_frames_with(work: FrameWork, crew: Crew[Part], workers: int, title: str = "label") -> None:
    """Label all frames with a crew, and redo the parts of lost workers.

    Raises an InputError if a worker cannot start, if a frame cannot be labelled, or if a part ends `LARGEST_LOSS`
    workers.
    """
    total = sum(scene.frames for scene in work.scenes)
    if not total:
        raise InputError(
            f"Scene '{work.scenes[0].name}' has no images, so CLIP and SAM cannot label it: predict with a trained run."
        )
    grain = 2 if torch.device(work.device).type == "cpu" else 1  # what `label_frames` labels at one time
    parts = deque(parts_of(total, workers, grain))
    losses: dict[Part, int] = {}
    replaced = 0

    def next_part() -> Part | None:
        return parts.popleft() if parts else None

    with Progress(title, total) as progress:
        for event in crew.run(next_part):
            part = event.task
            if isinstance(event, Done):
                raise_problem(event.answer)
                for _ in range(part.start, part.stop):
                    progress.advance(f"({replaced} lost workers)" if replaced else "")
                continue
            replaced += event.suspect
            count = losses.get(part, 0) + event.suspect
            if count >= LARGEST_LOSS:
                raise InputError(
                    f"{_images(work, part)}: {count} workers ended while they labelled it ({event.reason}); remove the "
                    "image, or give each worker more memory by fewer --workers."
                )
            again = _split(part, grain) if event.suspect else [part]
            losses |= dict.fromkeys(again, count)
            parts.extendleft(reversed(again))


def parts_of(total: int, workers: int, grain: int) -> list[Part]:
    """Return parts of all frames: a few per worker, each a multiple of `grain` frames but for the last."""
    size = min(LARGEST_PART, max(grain, total // (PARTS_PER_WORKER * workers) // grain * grain))
    return [Part(start, min(start + size, total)) for start in range(0, total, size)]


def slices(scenes: Sequence[SceneFrames], part: Part) -> list[tuple[str, int, int]]:
    """Return a part as ranges within scenes: (name, first frame, last frame + 1)."""
    ends = list(accumulate(scene.frames for scene in scenes))
    ranges = []
    for scene, end in zip(scenes, ends):
        first = end - scene.frames
        start, stop = max(part.start, first), min(part.stop, end)
        if start < stop:
            ranges.append((scene.name, start - first, stop - first))
    return ranges


def fingerprints(teachers: Teachers) -> tuple[str, str]:
    """Return the digests of everything that labels and masks depend on besides the image."""
    return teachers.namer.fingerprint(), teachers.masks.fingerprint()


def _split(part: Part, grain: int) -> list[Part]:
    """Return the smallest parts, so that a part that ends its worker again names few frames."""
    return [Part(start, min(start + grain, part.stop)) for start in range(part.start, part.stop, grain)]


def _frames_of(scene: Scene, start: int, stop: int) -> Scene:
    """Return a scene of some of the images without its points, which labelling does not read."""
    return Scene(scene.name, np.zeros((0, 3), dtype=np.float32), scene.frames[start:stop], images_only=True)


def _images(work: FrameWork, part: Part) -> str:
    collection = work.open_scenes()
    ranges = (
        (collection[collection.names.index(name)], start, stop) for name, start, stop in slices(work.scenes, part)
    )
    return ", ".join(frame.image.describe() for scene, start, stop in ranges for frame in scene.frames[start:stop])
