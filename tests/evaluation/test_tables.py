from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from labelfree.evaluation.confusion import evaluate_labels
from labelfree.evaluation.method_results import (
    MethodResult,
    absent_sentence,
    class_table,
    comparison_table,
    confusion_table,
)
from labelfree.results.export import save_results
from labelfree.vocabulary import Vocabulary

ABC = Vocabulary(("a", "b", "c"))
HALF = evaluate_labels([(np.array([0, 0, 1, 1], np.uint8), np.array([0, 1, 1, 255], np.uint8))], ABC)
FULL = evaluate_labels([(np.array([0, 1], np.uint8), np.array([0, 1], np.uint8))], ABC)
METHODS = (MethodResult("clip", HALF, None, "raw labels"), MethodResult("cns", FULL, FULL))


def test_comparison_has_a_dash_where_nothing_was_measured() -> None:
    assert comparison_table(METHODS).markdown().splitlines() == [
        "| method | mIoU 2D | mIoU 3D | acc 2D | acc 3D | mean acc 2D | mean acc 3D |",
        "| ------ | ------: | ------: | -----: | -----: | ----------: | ----------: |",
        "| clip   |    41.7 |       – |   50.0 |      – |        50.0 |           – |",
        "| cns    |   100.0 |   100.0 |  100.0 |  100.0 |       100.0 |       100.0 |",
    ]


def test_class_table_of_one_modality() -> None:
    assert class_table(METHODS, ABC, "2D").rows == (
        ("a", "50.0", "100.0"),
        ("b", "33.3", "100.0"),
        ("c", "–", "–"),
        ("mean", "41.7", "100.0"),
    )
    assert class_table(METHODS, ABC, "3D").header == ("class", "cns")


def test_confusion_rows_are_shares_of_the_truth() -> None:
    table = confusion_table(HALF, ABC)
    assert table.header == ("ground truth \\ prediction", "a", "b", "c", "no label")
    assert table.rows[1] == ("b", "0.0", "50.0", "0.0", "50.0")
    assert table.rows[2] == ("c", "–", "–", "–", "–")


def test_absent_classes_are_named_with_where() -> None:
    assert absent_sentence(METHODS).endswith("left out of the mean: c (clip 2D, cns 2D, cns 3D).")


def test_results_json(tmp_path: Path) -> None:
    save_results(tmp_path / "out" / "results.json", METHODS, {"seed": 3, "seconds": {"label": 1.5}})
    data = json.loads((tmp_path / "out" / "results.json").read_text())
    assert data["seed"] == 3
    assert data["methods"]["cns"]["miou_3d"] == 1.0
    assert "miou_3d" not in data["methods"]["clip"]
    assert data["methods"]["clip"]["evaluation_2d"]["iou"]["c"] is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.json"]
