"""Compute and cache the teacher outputs of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from labelfree.data.collection import count_frames
from labelfree.errors import InputError
from labelfree.runtime.progress import Progress
from labelfree.runtime.side_by_side import side_by_side
from labelfree.scene import Frame, Scene
from labelfree.teachers.teachers import Teachers


def label_frames(
    scenes: Sequence[Scene],
    teachers: Teachers,
    device: torch.device | str = "cpu",
    title: str = "label",
    shown: bool = True,
) -> None:
    """Run both teachers on every frame, so that later steps only read the cache; on a CPU two frames at a time.

    `shown` prints the progress.
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
        for first in frames:
            if torch.device(device).type != "cpu":
                label(first)
            else:  # a single last frame gets no more threads, so that its result is identical
                second = next(frames, None)
                side_by_side(partial(label, first), partial(label, second))
                if second is not None:
                    progress.advance()
            progress.advance()
