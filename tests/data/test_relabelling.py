"""Ground truth with class names of its own is matched by name, not by number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelfree.data.collection import SceneCollection
from labelfree.evaluation.confusion import evaluate_labels
from labelfree.raster import ImageArray
from labelfree.scene import Frame, Scene
from labelfree.vocabulary import Vocabulary

STORED = ("floor", "lamp", "wall")


@dataclass(frozen=True)
class OneScene:
    name: str = "s"

    def build(self) -> Scene:
        labels = np.array([[0, 1], [2, 255]], np.uint8)
        image = ImageArray(np.zeros((2, 2, 3), np.uint8))
        frame = Frame("f", image, np.eye(3), np.eye(4), (2, 2), labels=ImageArray(labels))
        return Scene("s", np.eye(3, dtype=np.float32), (frame,), labels=np.array([2, 1, 0], np.uint8))

    def faults(self, thorough: bool = False) -> tuple[str, ...]:
        return ()


def test_ids_follow_the_names() -> None:
    scenes = SceneCollection((OneScene(),), STORED)
    found = scenes.counted_by(Vocabulary.from_names(["wall", "ceiling", "floor"]))
    labels = found[0].frames[0].load_labels()
    assert labels is not None
    assert labels.tolist() == [[2, 255], [0, 255]]
    assert found[0].labels is not None
    assert found[0].labels.tolist() == [0, 255, 2]
    assert found.measured == ("floor", "wall")
    assert found.classes == STORED
    assert found[:1][0].labels.tolist() == [0, 255, 2]  # type: ignore[union-attr]
    assert "is ignored: lamp" in found.notes[0]
    assert scenes[0].labels.tolist() == [2, 1, 0]  # type: ignore[union-attr]


def test_the_same_names_and_none_leave_the_ids() -> None:
    own = SceneCollection((OneScene(),), STORED)
    assert own.counted_by(Vocabulary.from_names(STORED)) is own
    plain = SceneCollection((OneScene(),))
    assert plain.counted_by(Vocabulary.from_names(["wall"])) is plain


def test_only_what_the_truth_can_have_is_averaged() -> None:
    """Two of four pixels right in 'a', one of two in 'b' taken for 'c', which the truth does not label."""
    names = Vocabulary.from_names(["a", "b", "c"])
    truth, found = np.array([0, 0, 1, 1], np.uint8), np.array([0, 0, 1, 2], np.uint8)
    result = evaluate_labels([(truth, found)], names, measured=("a", "b"))
    assert result.miou == (1.0 + 0.5) / 2
    assert result.absent == ("c",)
    assert result.accuracy == 0.75
    assert evaluate_labels([(truth, found)], names).miou == (1.0 + 0.5 + 0.0) / 3
