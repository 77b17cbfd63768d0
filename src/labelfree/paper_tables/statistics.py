"""Statistics over a few seeds: Student's t intervals, paired differences and prediction intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A closed interval from low to high."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Return whether the interval includes a value."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Estimate:
    """A mean over runs; the intervals need two runs or more."""

    mean: float
    count: int
    interval: Interval | None = None
    """95 % confidence interval of the mean over all seeds."""
    next_run: Interval | None = None
    """95 % prediction interval of one more run."""
    p_value: float | None = None
    """Two-sided p-value of the hypothesis that the mean over all seeds is zero (Student's t)."""

    @property
    def excludes_zero(self) -> bool:
        """Return whether the interval of the mean exists and excludes zero."""
        return self.interval is not None and not self.interval.holds(0.0)


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate | None:
    """Return mean, t interval and prediction interval of independent, normal values; None without values."""
    count = len(values)
    if count == 0:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, 1)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    reach = t_quantile(0.5 + level / 2, count - 1) * spread
    of_mean, of_run = reach / math.sqrt(count), reach * math.sqrt(1 + 1 / count)
    intervals = Interval(mean - of_mean, mean + of_mean), Interval(mean - of_run, mean + of_run)
    return Estimate(mean, count, *intervals, _p_value(mean, spread / math.sqrt(count), count - 1))


def paired_difference(
    values: Sequence[float | None],  # one per seed
    reference: Sequence[float | None],  # one per seed, in the same order
    level: float = LEVEL,
) -> Estimate | None:
    """Return the mean of `values - reference` over the seeds that have both; effects of a seed cancel."""
    both = [a - b for a, b in zip(values, reference, strict=True) if a is not None and b is not None]
    return estimate(both, level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of several hypotheses adjusted by Holm's method, in the same order.

    The smallest is multiplied by their number n, the next by n - 1, and so on; none becomes smaller than the one before
    it, or greater than 1. Below 0.05 a hypothesis is rejected; the probability of any false rejection is at most 5 %.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def sign_agrees(measured: float | None, paper: float | None) -> bool | None:
    """Return whether a difference has the same sign as the paper's; None if either is zero or missing."""
    if not measured or not paper:
        return None
    return (measured > 0) == (paper > 0)


def t_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t at a probability, for a whole number of degrees of freedom.

    Raises a `ValueError` if the probability is not between 0 and 1 or if there is no degree of freedom.
    """
    if not 0 < probability < 1 or freedom < 1:
        raise ValueError(f"t quantile at {probability} with {freedom} degrees of freedom does not exist.")
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    inside, low, high = 2 * probability - 1, 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:  # bisect to floating-point precision
        low, high = (middle, high) if _share_inside(middle, freedom) < inside else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _p_value(mean: float, error: float, freedom: int) -> float:
    """Return the two-sided p-value of a mean with a standard error; without spread it is 0, or 1 for a mean of 0."""
    if error == 0:
        return 0.0 if mean else 1.0
    return max(0.0, 1 - _share_inside(math.atan(abs(mean) / error / math.sqrt(freedom)), freedom))


def _share_inside(angle: float, freedom: int) -> float:
    """Return P(|t| < sqrt(freedom) tan(angle)), a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    cosine, odd = math.cos(angle), freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(2 + odd, freedom - 1, 2):
        term *= (power - 1) / power * cosine * cosine
        total += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
