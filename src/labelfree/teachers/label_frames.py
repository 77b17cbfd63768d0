"""Compute and cache the teacher outputs of every frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import torch

from labelfree.data.collection import count_frames
from labelfree.errors import InputError
from labelfree.runtime.progress import Progress
from labelfree.runtime.side_by_side import side_by_side
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers

FRAMES_IN_FLIGHT = 3
"""Frames that are labelled at the same time on a GPU: one is read, one computed, one written."""


def label_frames(
    scenes: Sequence[Scene],
    teachers: Teachers,
    device: torch.device | str = "cpu",
    title: str = "label",
    shown: bool = True,
) -> None:
    """Run both teachers on every frame, so that later steps only read the cache; on a CPU two frames at a time.

    On a GPU images are read and maps written while the models run on another frame. `shown` prints the progress.
    Raises an `InputError` if the scenes have no images.
    """

    def label(frame: Frame | None) -> None:
        if frame is not None:
            teachers.mask_ids(frame)
            teachers.clip_labels(frame)

    total = count_frames(scenes)
    if not total:
        raise InputError(
            f"Scene '{scenes[0].name}' has no images, so CLIP and SAM cannot label it: predict with a trained run."
        )
    frames = (frame for scene in scenes for frame in scene.frames)
    with Progress(title, total, enabled=shown) as progress:
        if torch.device(device).type != "cpu":
            for _ in _overlapped(label, frames):
                progress.advance()
            return
        for first in frames:
            # a single last frame gets no more threads, so that its result is identical
            second = next(frames, None)
            side_by_side(partial(label, first), partial(label, second))
            if second is not None:
                progress.advance()
            progress.advance()


def _overlapped(label: Callable[[Frame], None], frames: Iterator[Frame]) -> Iterator[None]:
    """Label frames in a few threads, yielding once per finished frame, in order; the first error ends it."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(FRAMES_IN_FLIGHT, thread_name_prefix="label") as pool:
        try:
            for frame in frames:
                waiting.append(pool.submit(label, frame))
                if len(waiting) == FRAMES_IN_FLIGHT:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
