"""What counts as a number of a JSON or YAML file."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from labelfree.data.numbers import finite_array, finite_number, whole_number

NO_NUMBERS: tuple[Any, ...] = (None, True, "1", "nan", math.nan, math.inf, -math.inf, 10**400, [1], {"a": 1})


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number(value: Any) -> None:
    for read in (finite_number, lambda value: whole_number(value, 0, 9)):
        with pytest.raises(ValueError, match=" is no "):
            read(value)
    for values in (value, [[1.0, value], [3, 4]]):
        if values != [1]:
            with pytest.raises(ValueError, match="is no finite number"):
                finite_array(values)


def test_numbers() -> None:
    assert finite_number(-3) == -3.0
    assert [whole_number(value, 0, 9) for value in (0, 9, 4.0)] == [0, 9, 4]
    np.testing.assert_array_equal(finite_array([[1, 2.5], [3, 4]]), [[1, 2.5], [3, 4]])
    for value in (-1, 10, 0.5):
        with pytest.raises(ValueError, match="is no whole number from 0 to 9"):
            whole_number(value, 0, 9)
