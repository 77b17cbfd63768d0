from __future__ import annotations

import math

import numpy as np
import pytest

from labelfree.paper_tables.statistics import Interval, estimate, holm, paired_difference, sign_agrees, t_quantile

TABLE = {
    # degrees of freedom: quantiles at 0.90, 0.95, 0.975, 0.99, 0.995 (any statistics book)
    1: (3.078, 6.314, 12.706, 31.821, 63.657),
    2: (1.886, 2.920, 4.303, 6.965, 9.925),
    3: (1.638, 2.353, 3.182, 4.541, 5.841),
    4: (1.533, 2.132, 2.776, 3.747, 4.604),
    5: (1.476, 2.015, 2.571, 3.365, 4.032),
    6: (1.440, 1.943, 2.447, 3.143, 3.707),
    9: (1.383, 1.833, 2.262, 2.821, 3.250),
    10: (1.372, 1.812, 2.228, 2.764, 3.169),
    29: (1.311, 1.699, 2.045, 2.462, 2.756),
    30: (1.310, 1.697, 2.042, 2.457, 2.750),
    120: (1.289, 1.658, 1.980, 2.358, 2.617),
}


@pytest.mark.parametrize("freedom", TABLE)
def test_t_quantiles_are_those_of_the_books(freedom: int) -> None:
    found = [t_quantile(p, freedom) for p in (0.90, 0.95, 0.975, 0.99, 0.995)]
    assert [round(value, 3) for value in found] == list(TABLE[freedom])


def test_t_quantiles_in_closed_form() -> None:
    assert t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-12)
    assert t_quantile(0.975, 2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-12)
    assert t_quantile(0.975, 100_000) == pytest.approx(1.959988, abs=1e-5)
    assert t_quantile(0.5, 7) == 0.0
    assert t_quantile(0.025, 7) == -t_quantile(0.975, 7)


def density(t: float, freedom: int) -> float:
    log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    return math.exp(log - (freedom + 1) / 2 * math.log1p(t * t / freedom))


@pytest.mark.parametrize("freedom", [3, 4, 7, 12])
def test_t_quantiles_against_the_integrated_density(freedom: int) -> None:
    high = t_quantile(0.95, freedom)
    grid = np.linspace(0, high, 20_001)
    assert np.trapezoid([density(t, freedom) for t in grid], grid) == pytest.approx(0.45, abs=1e-8)


@pytest.mark.parametrize(("probability", "freedom"), [(0.0, 3), (1.0, 3), (0.9, 0)])
def test_refuses_quantiles_that_do_not_exist(probability: float, freedom: int) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        t_quantile(probability, freedom)


def test_estimate_of_few_runs() -> None:
    assert estimate([]) is None
    one = estimate([4.0])
    assert one is not None
    assert (one.mean, one.interval, one.next_run, one.excludes_zero) == (4.0, None, None, False)
    # 1, 2, 3, 4, 5: mean 3, standard deviation sqrt(2.5), t(4) = 2.776
    five = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert five is not None
    assert five.interval is not None
    assert five.next_run is not None
    assert five.mean == 3.0
    assert five.interval.high - 3.0 == pytest.approx(2.7764 * math.sqrt(2.5 / 5), abs=1e-4)
    assert five.next_run.high - 3.0 == pytest.approx(2.7764 * math.sqrt(2.5 * 1.2), abs=1e-4)
    assert five.excludes_zero
    equal = estimate([2.0, 2.0])
    assert equal is not None
    assert equal.interval == Interval(2.0, 2.0)


def test_intervals_cover_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    held = held_next = 0
    for _ in range(2000):
        runs = random.normal(10.0, 3.0, 6)
        found = estimate(runs[:5].tolist())
        assert found is not None
        assert found.interval is not None
        assert found.next_run is not None
        held += found.interval.holds(10.0)
        held_next += found.next_run.holds(runs[5])
    assert held / 2000 == pytest.approx(0.95, abs=0.015)
    assert held_next / 2000 == pytest.approx(0.95, abs=0.015)


def test_p_values_in_closed_form_and_from_the_books() -> None:
    """Of 1, 3: mean 2, standard error 1, t = 2 with one degree of freedom: p = 1 - 2 / pi * atan(2)."""
    two = estimate([1.0, 3.0])
    assert two is not None
    assert two.p_value == pytest.approx(1 - 2 / math.pi * math.atan(2.0))
    for freedom, quantiles in TABLE.items():
        if freedom > 30:
            continue
        base = [float(2 * (place % 2) - 1) for place in range(freedom + 1)]  # any values, moved to a given t
        mean = math.fsum(base) / len(base)
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in base) / freedom)
        for quantile, expected in zip(quantiles, (0.2, 0.1, 0.05, 0.02, 0.01)):
            moved = estimate([value - mean - quantile * spread / math.sqrt(len(base)) for value in base])
            assert moved is not None
            assert moved.p_value == pytest.approx(expected, rel=2e-3)
    assert [found.p_value for found in (estimate([2.0, 2.0]), estimate([0.0, 0.0]), estimate([5.0])) if found] == [
        0.0, 1.0, None,
    ]  # fmt: skip


@pytest.mark.parametrize("values", [[0.1, 0.3, 0.2], [-1.0, 2.0, 0.5, 3.0], [4.0, 5.0]])
def test_a_p_value_below_5_percent_is_an_interval_without_zero(values: list[float]) -> None:
    found = estimate(values)
    assert found is not None
    assert found.p_value is not None
    assert (found.p_value < 0.05) is found.excludes_zero


def test_holm_by_hand() -> None:
    """Four hypotheses: 0.005 * 4 = 0.02, 0.01 * 3 = 0.03, 0.03 * 2 = 0.06, and 0.04 * 1 = 0.04 is raised to 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_against_its_definition_in_steps() -> None:
    """Step down: compare the smallest with alpha / n, the next with alpha / (n - 1), and stop at the first failure."""
    random = np.random.default_rng(1)
    for _ in range(200):
        p_values = (random.random(7) ** 4).tolist()
        rejected: set[int] = set()
        for rank, place in enumerate(np.argsort(p_values).tolist()):
            if p_values[place] >= 0.05 / (7 - rank):
                break
            rejected.add(place)
        assert {place for place, value in enumerate(holm(p_values)) if value < 0.05} == rejected


def test_pairing_takes_out_what_a_seed_does_to_both() -> None:
    reference = [10.0, 30.0, 20.0]
    difference = paired_difference([9.0, 28.9, 19.1], reference)
    alone = estimate([9.0, 28.9, 19.1])
    assert difference is not None
    assert difference.mean == pytest.approx(-1.0)
    assert difference.excludes_zero
    assert alone is not None
    assert not alone.excludes_zero


def test_pairing_leaves_out_seeds_without_both() -> None:
    difference = paired_difference([1.0, None, 5.0, 7.0], [0.0, 2.0, None, 4.0])
    assert difference is not None
    assert (difference.mean, difference.count) == (2.0, 2)
    assert paired_difference([None, 1.0], [1.0, None]) is None


@pytest.mark.parametrize(
    ("measured", "paper", "expected"),
    [
        (1.0, 2.0, True),
        (-1.0, -0.1, True),
        (1.0, -2.0, False),
        (-1.0, 2.0, False),
        (0.0, 2.0, None),
        (1.0, 0.0, None),
        (None, 1.0, None),
        (1.0, None, None),
    ],
)
def test_sign_agreement(measured: float | None, paper: float | None, expected: bool | None) -> None:
    assert sign_agrees(measured, paper) is expected
