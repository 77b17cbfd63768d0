"""How sure a mean over a few seeds is: Student's t intervals, paired differences, the range of one more run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """From low to high."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Return whether a value lies inside."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Estimate:
    """A mean over runs; the intervals need two of them."""

    mean: float
    count: int
    interval: Interval | None = None
    """Where the mean over all seeds lies, at 95 %."""
    next_run: Interval | None = None
    """Where one more run will lie, at 95 %."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval of the mean leaves zero out."""
        return self.interval is not None and not self.interval.holds(0.0)


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate | None:
    """Return mean, t interval and prediction interval of independent runs taken as normal; None without any run."""
    count = len(values)
    if count == 0:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, 1)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    reach = t_quantile(0.5 + level / 2, count - 1) * spread
    of_mean, of_run = reach / math.sqrt(count), reach * math.sqrt(1 + 1 / count)
    return Estimate(mean, count, Interval(mean - of_mean, mean + of_mean), Interval(mean - of_run, mean + of_run))


def paired_difference(
    values: Sequence[float | None],  # one per seed
    reference: Sequence[float | None],  # one per seed, in the same order
    level: float = LEVEL,
) -> Estimate | None:
    """Return the mean of `values - reference` over the seeds that have both; what a seed does to both cancels out."""
    both = [a - b for a, b in zip(values, reference, strict=True) if a is not None and b is not None]
    return estimate(both, level)


def sign_agrees(measured: float | None, paper: float | None) -> bool | None:
    """Return whether a difference points where the paper's does; None where either has no direction."""
    if not measured or not paper:
        return None
    return (measured > 0) == (paper > 0)


def t_quantile(probability: float, freedom: int) -> float:
    """Return the value that Student's t with whole degrees of freedom stays below with a probability."""
    if not 0 < probability < 1 or freedom < 1:
        raise ValueError(f"t quantile at {probability} with {freedom} degrees of freedom does not exist.")
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    inside, low, high = 2 * probability - 1, 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:  # until no number lies between
        low, high = (middle, high) if _share_inside(middle, freedom) < inside else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


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
