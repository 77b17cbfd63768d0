from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from labelfree.results.curves import MetricSeries
from labelfree.results.report_charts import binned, charts, nice_ticks, stage_starts


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, (0, 0.5, 1)),
        (0.12, 0.57, (0, 0.2, 0.4, 0.6)),
        (0, 30, (0, 10, 20, 30)),
        (-3, 4, (-4, -2, 0, 2, 4)),
        (2, 2, (1, 1.5, 2, 2.5, 3)),
        (0, 0, (-0.5, 0, 0.5)),
        (1234, 1236, (1234, 1234.5, 1235, 1235.5, 1236)),
    ],
)
def test_ticks_are_round_and_span(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_binning_averages_equal_runs() -> None:
    series = MetricSeries("ce", (0.0, 1.0, 2.0, 3.0, 4.0), (1.0, 3.0, 5.0, 7.0, 9.0))
    assert binned(series, 3) == [(0.5, 2.0), (2.5, 6.0), (4.0, 9.0)]
    assert binned(series, 10) == list(zip(series.epochs, series.values))


def test_2d_and_3d_share_a_chart_and_stages_are_marked() -> None:
    epochs = (0.0, 1.0, 2.0)
    drawn = charts(
        [
            MetricSeries("stage", epochs, (1.0, 1.0, 2.0)),
            MetricSeries("ce_2d", epochs, (3.0, 2.0, 1.0)),
            MetricSeries("ce_3d", epochs, (4.0, 2.0, 1.0)),
            MetricSeries("learning_rate", epochs, (0.1, 0.1, 0.1)),
        ]
    )
    tree = ElementTree.fromstring(drawn)
    assert [svg.get("aria-label") for svg in tree.findall("svg")] == ["ce over epochs", "learning rate over epochs"]
    assert len(tree.findall("svg")[0].findall(".//polyline")) == 2
    assert drawn.count("stage 2") == 2


def test_single_values_and_no_values() -> None:
    assert "circle" in charts([MetricSeries("miou", (0.0,), (0.4,))])
    assert charts([]) == charts([MetricSeries("ce", (), ())]) == ""
    assert stage_starts([MetricSeries("stage", (), ())]) == ()


def test_many_values_get_a_bold_average() -> None:
    epochs = tuple(i / 100 for i in range(500))
    drawn = charts([MetricSeries("ce", epochs, tuple(float(i % 7) for i in range(500)))])
    assert drawn.count("<polyline") == 2
    assert "faint" in drawn
