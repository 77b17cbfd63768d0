"""States of corrections: assignments of points to classes, undo, and what is saved."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labelfree.vocabulary import IGNORE_LABEL

MOST_UNDOS = 200
"""Edits that can be undone; older ones stay."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One assignment, with what it replaced."""

    points: NDArray[np.int64]
    """[n] the points that it changed."""
    before: NDArray[np.uint8]
    """[n] their labels before."""
    label: int
    """Class that they were given; 255 removes their correction."""


@dataclass(frozen=True, eq=False)
class EditState:
    """The corrected labels of a cloud, the edits that led to them, and the labels that were saved last."""

    labels: NDArray[np.uint8]
    """[N] class of each corrected point, 255 = not corrected."""
    saved: NDArray[np.uint8]
    """[N] labels of the file."""
    edits: tuple[Edit, ...] = ()

    @property
    def corrected(self) -> int:
        """Return the number of corrected points."""
        return int((self.labels != IGNORE_LABEL).sum())

    @property
    def unsaved(self) -> bool:
        """Return whether the labels differ from those of the file."""
        return not np.array_equal(self.labels, self.saved)


def opened(labels: NDArray[np.uint8]) -> EditState:  # [N]
    """Return the state of corrections read from a file."""
    return EditState(labels, labels)


def assign(state: EditState, chosen: NDArray[np.bool_], label: int) -> EditState:  # [N]
    """Return the state after the chosen points are given a class, or 255 to remove their correction.

    Without a point that changes, it is the same state.
    """
    points = np.flatnonzero(chosen & (state.labels != label))
    if not len(points):
        return state
    labels = state.labels.copy()
    edit = Edit(points, labels[points], label)
    labels[points] = label
    return replace(state, labels=labels, edits=(*state.edits, edit)[-MOST_UNDOS:])


def undone(state: EditState) -> EditState:
    """Return the state before the last edit; the same state without one."""
    if not state.edits:
        return state
    last = state.edits[-1]
    labels = state.labels.copy()
    labels[last.points] = last.before
    return replace(state, labels=labels, edits=state.edits[:-1])


def marked_saved(state: EditState, labels: NDArray[np.uint8]) -> EditState:  # [N]
    """Return the state after these labels were written; edits made meanwhile stay unsaved."""
    return replace(state, saved=labels)


def corrected_labels(labels: NDArray[np.uint8], state: EditState) -> NDArray[np.uint8]:  # [N]
    """Return labels with the corrections in their places."""
    return np.where(state.labels == IGNORE_LABEL, labels, state.labels)
