"""Plain data becomes a dataclass or one sentence with its source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from labelfree.config.networks import Segmenter2DConfig
from labelfree.config.typed import typed
from labelfree.errors import InputError


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.size == (0, 0):
            raise InputError("size is 0 x 0: give pixels.")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)


def test_nested_data() -> None:
    assert typed(Outer, {"name": "a", "inner": {"size": [3, 4]}}, "here") == Outer("a", Inner((3, 4)))
    assert typed(Outer, {"name": "a"}, "here") == Outer("a")


@pytest.mark.parametrize("tree", [{}, {"name": "a", "inner": {"size": 3}}, {"name": "a", "inner": 5}, {"nam": "a"}])
def test_other_data_is_one_sentence_with_the_source(tree: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^config\.json: ") as caught:
        typed(Outer, tree, "config.json")
    assert "\n" not in str(caught.value)


def test_what_a_dataclass_says_itself_is_kept() -> None:
    with pytest.raises(InputError, match=r"^size is 0 x 0: give pixels\.$"):
        typed(Outer, {"name": "a", "inner": {"size": [0, 0]}}, "config.json")


@pytest.mark.parametrize("value", [None, "x", {}, [], True, 3.5])
def test_configurations_of_networks(value: Any) -> None:
    with pytest.raises(InputError):
        typed(Segmenter2DConfig, {"aspp_channels": value}, "config.json")
