"""The images of a scene with overlays of labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelfree.labelling.inference import predict_images
from labelfree.results.export import overlay
from labelfree.scene import Frame
from labelfree.viewer.layers import CLIP, PREDICTION, VOTED, Sources

PLAIN, TRUTH = "image", "ground truth"


def picture_kinds(sources: Sources, frames: tuple[Frame, ...]) -> tuple[str, ...]:
    """Return the overlays that exist for the images of a scene."""
    teachers = (CLIP, VOTED) if sources.teachers is not None else ()
    network = (PREDICTION,) if sources.net_2d is not None else ()
    truth = (TRUTH,) if sources.vocabulary is not None and any(frame.labels is not None for frame in frames) else ()
    return (PLAIN, *teachers, *network, *truth)


def picture(sources: Sources, frame: Frame, kind: str) -> NDArray[np.uint8]:  # [H, W, 3]
    """Return an image, plain or blended with the colours of labels."""
    image, labels = frame.load_image(), _labels(sources, frame, kind)
    return image if labels is None or sources.vocabulary is None else overlay(image, labels, sources.vocabulary)


def _labels(sources: Sources, frame: Frame, kind: str) -> NDArray[np.uint8] | None:  # [H, W]
    if kind == CLIP and sources.teachers is not None:
        return sources.teachers.clip_labels(frame)
    if kind == VOTED and sources.teachers is not None:
        return sources.teachers.voted_labels(frame)
    if kind == PREDICTION and sources.net_2d is not None:
        return predict_images(sources.net_2d, [frame.load_image()], [frame.name])[0].labels
    return frame.load_labels() if kind == TRUTH else None
