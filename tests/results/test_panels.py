from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from helpers.results_room import VOCABULARY, room_view
from labelfree.errors import InputError
from labelfree.results.panel_layout import PanelRow, compose, legend_of
from labelfree.results.panels import FrameRow, cloud_panel, frame_panel, mask_colours

IMAGE = np.full((30, 40, 3), 90, np.uint8)
LABELS = np.tile(np.repeat(np.array([0, 3], np.uint8), 20), (30, 1))


def has(picture: NDArray[np.uint8], colour: ArrayLike) -> bool:
    return bool((picture == np.asarray(colour, np.uint8)).all(axis=-1).any())


def test_frame_panel_shows_only_the_columns_that_exist() -> None:
    two = frame_panel([FrameRow("f", IMAGE, clip=LABELS)], VOCABULARY)
    six = frame_panel([FrameRow("f", IMAGE, LABELS.astype(np.uint16), LABELS, LABELS, LABELS, LABELS)], VOCABULARY)
    assert six.shape[1] > 2.8 * two.shape[1]
    for colour in ((90, 90, 90), VOCABULARY.colours[0], VOCABULARY.colours[3]):
        assert has(two, colour)
    assert not has(two, VOCABULARY.colours[1])


def test_missing_cells_stay_pale_and_headers_add_a_line() -> None:
    rows = [FrameRow("f", IMAGE, clip=LABELS), FrameRow("g", IMAGE)]
    plain, titled = frame_panel(rows, VOCABULARY), frame_panel(rows, VOCABULARY, "a header")
    assert has(plain, (232, 234, 238))
    assert titled.shape[0] > plain.shape[0]


def test_mask_colours_differ_and_zero_is_black() -> None:
    ids = np.arange(600, dtype=np.uint16).reshape(20, 30)
    colours = mask_colours(ids)
    assert colours[0, 0].tolist() == [0, 0, 0]
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) > 590
    step = np.abs(np.diff(colours.reshape(-1, 3).astype(int), axis=0)).sum(axis=1)
    assert step.min() > 60
    np.testing.assert_array_equal(mask_colours(np.zeros((2, 2), np.uint16)), np.zeros((2, 2, 3)))


def test_legend_names_what_occurs() -> None:
    texts = [entry.text for entry in legend_of([np.array([3, 255], np.uint8), np.array([0], np.uint8)], VOCABULARY)]
    assert texts == ["wall", "chair", "no label"]


def test_cloud_panel_draws_every_layer() -> None:
    view = room_view(per_metre=6)
    picture = cloud_panel([view], VOCABULARY, cell_size=(60, 80))
    assert picture.shape[1] > 5 * 80
    assert has(picture, VOCABULARY.colours[1])


def test_refuses_an_uneven_grid() -> None:
    with pytest.raises(InputError, match="2 cells"):
        compose(["a", "b"], [PanelRow("r", (IMAGE,))], ())
    with pytest.raises(InputError, match="'r' has no image"):
        compose(["a"], [PanelRow("r", (None,))], ())
