from __future__ import annotations

from pathlib import Path

import pytest

from labelfree.errors import InputError
from labelfree.results.curves import MetricSeries, read_metrics


def write(tmp_path: Path, *lines: str, end: str = "\n") -> Path:
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(lines) + end)
    return path


def test_places_steps_inside_their_epoch(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"epoch": 0, "step": 0, "stage": 1, "ce_2d": 4.0, "source": "clip"}',
        '{"epoch": 0, "step": 1, "stage": 1, "ce_2d": 3.0, "ok": true}',
        '{"epoch": 1, "step": 2, "stage": 2, "ce_2d": 2.0, "miou_3d": 0.5}',
    )
    assert read_metrics(path) == (
        MetricSeries("stage", (0.0, 0.5, 1.0), (1.0, 1.0, 2.0)),
        MetricSeries("ce_2d", (0.0, 0.5, 1.0), (4.0, 3.0, 2.0)),
        MetricSeries("miou_3d", (1.0,), (0.5,)),
    )


def test_resumed_lines_replace_and_a_torn_end_is_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"epoch": 0, "step": 0, "ce": 4.0}',
        '{"epoch": 1, "step": 1, "ce": 9.0}',
        '{"epoch": 1, "step": 1, "ce": 2.0}',
        '{"epoch": 2, "step": 2, "ce": NaN}',
        '{"epoch": 3, "st',
        end="",
    )
    assert read_metrics(path) == (MetricSeries("ce", (0.0, 1.0), (4.0, 2.0)),)


@pytest.mark.parametrize("line", ["{", '{"step": 1}', "[1]", '{"epoch": "x"}'])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, '{"epoch": 0, "step": 0, "ce": 4.0}', line)
    with pytest.raises(InputError, match="line 2 is not"):
        read_metrics(path)


def test_missing_file_and_uneven_series(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such metrics file"):
        read_metrics(tmp_path / "metrics.jsonl")
    with pytest.raises(InputError, match="2 epochs but 1 values"):
        MetricSeries("ce", (0.0, 1.0), (3.0,))
