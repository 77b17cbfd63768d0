from __future__ import annotations

from typing import Any

import pytest
import torch

from labelfree.config.teachers import SamOptions
from labelfree.errors import InputError
from labelfree.teachers.everything_mode import (
    MaskCandidates,
    box_overlap,
    filter_masks,
    mask_boxes,
    mask_overlap,
    non_maximum_suppression,
    paint_mask_ids,
    point_grid,
    stability_score,
    suppress_duplicates,
)

OFF = SamOptions(pred_iou_threshold=0, stability_threshold=0, box_nms_threshold=0)


def _blobs(count: int, size: tuple[int, int] = (12, 15), seed: int = 0) -> torch.Tensor:
    """Random rectangles with holes, as bool masks."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask in masks:
        low = [int(torch.randint(0, side - 2, (1,), generator=generator)) for side in size]
        high = [int(torch.randint(start + 1, side + 1, (1,), generator=generator)) for start, side in zip(low, size)]
        mask[low[0] : high[0], low[1] : high[1]] = True
        mask &= torch.rand(size, generator=generator) > 0.2
    return masks


def test_points_are_cell_centres_row_by_row() -> None:
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert point_grid(1).tolist() == [[0.5, 0.5]]
    assert point_grid(32).shape == (1024, 2)


@pytest.mark.parametrize(
    ("logits", "offset", "expected"),
    [
        ([[2.0, 2.0, 0.5, -0.5]], 1.0, 0.5),
        ([[2.0, 2.0, 0.5, -0.5]], 0.0, 1.0),
        ([[2.0, 0.2, -3.0, -3.0]], 0.1, 1.0),
        ([[0.5, 0.5, 0.5, 0.5]], 1.0, 0.0),
        ([[-5.0, -5.0, -5.0, -5.0]], 1.0, 0.0),
    ],
)
def test_stability_score(logits: list[list[float]], offset: float, expected: float) -> None:
    assert stability_score(torch.tensor([logits]), offset).tolist() == [expected]


def test_boxes_agree_with_a_loop() -> None:
    masks = torch.cat([_blobs(20), torch.zeros(1, 12, 15, dtype=torch.bool)])
    boxes = mask_boxes(masks)
    for mask, box in zip(masks, boxes.tolist()):
        places = mask.nonzero().tolist()
        rows, columns = [row for row, _ in places], [column for _, column in places]
        assert box == ([min(columns), min(rows), max(columns) + 1, max(rows) + 1] if places else [0, 0, 0, 0])


def test_overlaps_agree_with_counting_pixels() -> None:
    masks = _blobs(12)
    boxes = mask_boxes(masks)
    filled = torch.zeros_like(masks)
    for canvas, (x0, y0, x1, y1) in zip(filled, boxes.tolist()):
        canvas[y0:y1, x0:x1] = True
    for overlap, shapes in ((box_overlap(boxes), filled), (mask_overlap(masks), masks)):
        for i in range(12):
            for j in range(12):
                union = int((shapes[i] | shapes[j]).sum())
                expected = int((shapes[i] & shapes[j]).sum()) / union if union else 0.0
                assert float(overlap[i, j]) == pytest.approx(expected, abs=1e-6)


def _slow_suppression(overlap: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    kept: list[int] = []
    for candidate in sorted(range(len(scores)), key=lambda index: (-scores[index], index)):
        if all(overlap[candidate][other] <= threshold for other in kept):
            kept.append(candidate)
    return kept


@pytest.mark.parametrize("threshold", [0.13, 0.5, 0.73, 1.0])
def test_suppression_agrees_with_the_greedy_loop(threshold: float) -> None:
    overlap = mask_overlap(_blobs(60))
    scores = torch.randint(0, 6, (60,), generator=torch.Generator().manual_seed(4)) / 5  # many ties
    kept = non_maximum_suppression(overlap, scores, threshold)
    assert kept.tolist() == _slow_suppression(overlap.tolist(), scores.tolist(), threshold)


def test_suppression_by_hand() -> None:
    overlap = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.8], [0.0, 0.8, 1.0]])
    assert non_maximum_suppression(overlap, torch.tensor([0.9, 0.8, 0.7]), 0.7).tolist() == [0, 2]
    assert non_maximum_suppression(overlap, torch.tensor([0.5, 0.5, 0.5]), 0.7).tolist() == [0, 2]
    assert non_maximum_suppression(overlap, torch.tensor([0.7, 0.8, 0.7]), 0.7).tolist() == [1]
    assert non_maximum_suppression(torch.zeros(0, 0), torch.zeros(0), 0.7).tolist() == []


def _candidates() -> MaskCandidates:
    """Five masks of 4 x 4: sure, unsure, shaky, empty, tiny."""
    logits = torch.full((5, 4, 4), -9.0)
    logits[0, :2], logits[1, :2] = 9.0, 9.0
    logits[2, :2], logits[2, 2:] = 9.0, 0.5
    logits[4, 0, 0] = 9.0
    return MaskCandidates(logits, torch.tensor([0.9, 0.5, 0.95, 0.99, 0.97]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (OFF, [0.9, 0.5, 0.95, 0.97]),
        (SamOptions(stability_threshold=0), [0.9, 0.95, 0.97]),
        (SamOptions(pred_iou_threshold=0), [0.9, 0.5, 0.97]),
        (SamOptions(), [0.9, 0.97]),
        (SamOptions(min_area_fraction=0.1), [0.9]),
        (SamOptions(pred_iou_threshold=0.999), []),
    ],
)
def test_filters(options: SamOptions, expected: list[float]) -> None:
    assert filter_masks(_candidates(), options).scores.tolist() == pytest.approx(expected)


def test_duplicates_are_suppressed_best_first() -> None:
    logits = torch.where(_blobs(40), 3.0, -3.0)
    scores = torch.rand(40, generator=torch.Generator().manual_seed(1))
    candidates = MaskCandidates(logits, scores)
    assert suppress_duplicates(candidates, OFF).scores.tolist() == sorted(scores.tolist(), reverse=True)
    by_box = suppress_duplicates(candidates, SamOptions(box_nms_threshold=0.5))
    kept = _slow_suppression(box_overlap(mask_boxes(logits > 0)).tolist(), scores.tolist(), 0.5)
    assert by_box.scores.tolist() == scores[kept].tolist()
    by_mask = suppress_duplicates(candidates, SamOptions(box_nms_threshold=0, mask_nms_threshold=0.3))
    kept = _slow_suppression(mask_overlap(logits > 0).tolist(), scores.tolist(), 0.3)
    assert by_mask.scores.tolist() == scores[kept].tolist()


def _slow_paint(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Paint in descending area, small over large, earlier over later; then number what is still seen."""
    canvas = torch.full(size, -1)
    for index in sorted(range(len(masks)), key=lambda index: (-int(masks[index].sum()), -index)):
        canvas[masks[index]] = index
    seen = [i for i in sorted(range(len(masks)), key=lambda i: (-int(masks[i].sum()), -i)) if bool((canvas == i).any())]
    ids = torch.zeros(size, dtype=torch.int64)
    for number, index in enumerate(seen, start=1):
        ids[canvas == index] = number
    return ids


@pytest.mark.parametrize("count", [0, 1, 7, 60, 300])
@pytest.mark.parametrize("chunk", [1, 16, 1000])
def test_painting_agrees_with_the_painter(count: int, chunk: int) -> None:
    masks = _blobs(count, seed=count)
    ids = paint_mask_ids(masks.split(chunk) if count else [], (12, 15))
    assert ids.dtype == torch.uint16
    assert ids.long().tolist() == _slow_paint(masks, (12, 15)).tolist()


def test_small_masks_win_hidden_masks_vanish_and_ids_have_no_gaps() -> None:
    masks = torch.zeros(4, 1, 6, dtype=torch.bool)
    masks[0, 0, :5] = True  # large
    masks[1, 0, :2] = True  # hidden below the next two
    masks[2, 0, 0] = True
    masks[3, 0, 1] = True
    assert paint_mask_ids([masks], (1, 6)).tolist() == [[3, 2, 1, 1, 1, 0]]
    same = masks[[2, 2]]
    assert paint_mask_ids([same], (1, 6)).tolist() == [[1, 0, 0, 0, 0, 0]]


def test_more_than_255_masks() -> None:
    masks = torch.eye(400, dtype=torch.bool).reshape(400, 20, 20)
    ids = paint_mask_ids([masks], (20, 20)).long()
    assert sorted(ids.flatten().tolist()) == list(range(1, 401))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points_per_side": 0}, "points_per_side is 0: give a whole number from 1"),
        ({"stability_threshold": 1.2}, r"stability_threshold is 1\.2"),
        ({"box_nms_threshold": -0.1}, "box_nms_threshold"),
        ({"stability_offset": -1}, "stability_offset"),
    ],
)
def test_bad_options_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SamOptions(**change)
