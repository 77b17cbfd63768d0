from __future__ import annotations

import numpy as np

from labelfree.viewer.editing import MOST_UNDOS, assign, corrected_labels, marked_saved, opened, undone

START = np.array([255, 3, 255, 255], np.uint8)


def chosen(*points: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.zeros(4, np.bool_)
    mask[list(points)] = True
    return mask


def test_assigning_undoing_and_saving() -> None:
    first = opened(START)
    assert (first.corrected, first.unsaved) == (1, False)
    second = assign(first, chosen(0, 1), 5)
    assert second.labels.tolist() == [5, 5, 255, 255]
    assert (second.corrected, second.unsaved) == (2, True)
    assert first.labels.tolist() == START.tolist()
    third = assign(second, chosen(1, 2), 255)
    assert third.labels.tolist() == [5, 255, 255, 255]
    assert undone(third).labels.tolist() == [5, 5, 255, 255]
    back = undone(undone(third))
    assert back.labels.tolist() == START.tolist()
    assert not back.unsaved
    assert undone(back) is back


def test_an_edit_without_an_effect_is_no_edit() -> None:
    state = opened(START)
    assert assign(state, chosen(1), 3) is state
    assert assign(state, chosen(), 3) is state


def test_undoing_what_was_saved_is_unsaved_again() -> None:
    edited = assign(opened(START), chosen(2), 1)
    saved = marked_saved(edited, edited.labels)
    assert not saved.unsaved
    assert undone(saved).unsaved


def test_random_edits_are_all_undone() -> None:
    random, state = np.random.default_rng(0), opened(START)
    before = [state.labels]
    for _ in range(50):
        state = assign(state, random.random(4) < 0.5, int(random.choice([0, 1, 2, 255])))
        before.append(state.labels)
    while state.edits:
        state = undone(state)
    assert state.labels.tolist() == START.tolist()


def test_history_is_bounded() -> None:
    state = opened(START)
    for step in range(MOST_UNDOS + 50):
        state = assign(state, chosen(0), step % 2)
    assert len(state.edits) == MOST_UNDOS


def test_corrections_cover_labels() -> None:
    labels = np.array([1, 1, 2, 2], np.uint8)
    assert corrected_labels(labels, opened(START)).tolist() == [1, 3, 2, 2]
