"""Every number of every configuration has a range: out of it is one sentence, never another error."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

import pytest

from labelfree.config.consensus import ConsensusConfig
from labelfree.config.labels import LabelConfig, PairingConfig, PredictConfig
from labelfree.config.networks import NetworkConfig, Segmenter2DConfig, Segmenter3DConfig
from labelfree.config.ranges import Real, Whole, positive
from labelfree.config.run_config import RunConfig
from labelfree.config.teachers import ClipOptions, SamOptions, TeacherConfig
from labelfree.config.training import AugmentConfig, SwitchConfig, TrainConfig, TrainingPlan
from labelfree.config.typed import typed
from labelfree.errors import InputError

KINDS = (
    RunConfig, TeacherConfig, NetworkConfig, PredictConfig, ClipOptions, SamOptions, LabelConfig, PairingConfig,
    TrainConfig, TrainingPlan, SwitchConfig, AugmentConfig, ConsensusConfig, Segmenter2DConfig,
    Segmenter3DConfig,
)  # fmt: skip
FIELDS = [(kind, name) for kind in KINDS for name, hint in get_type_hints(kind).items() if not is_dataclass(hint)]
VALUES: tuple[Any, ...] = (
    -1, 0, 1e30, float("nan"), float("inf"), "x", "nan", None, [], {}, [-1.0, float("nan")], [[[]]], True,
)  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_a_value_is_taken_or_refused_in_one_sentence(kind: type[Any], name: str) -> None:
    for value in VALUES:
        told = _refusal(kind, {name: value})
        assert "\n" not in told, value
        assert "class '" not in told, value


def _refusal(kind: type[Any], tree: dict[str, Any]) -> str:
    """Return the sentence that refuses a value, empty where it is taken."""
    try:
        typed(kind, tree, "settings")
    except InputError as error:
        return str(error)
    return ""


def _numbers(hint: Any) -> bool:
    return hint in (int, float) or any(_numbers(part) for part in get_args(hint))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, name in FIELDS if _numbers(get_type_hints(kind)[name])],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e30, 1e30])
def test_every_number_has_a_range(kind: type[Any], name: str, value: float) -> None:
    hint = get_type_hints(kind)[name]
    pair = any(get_args(part) for part in (hint, *get_args(hint))) or hint not in (int, float)
    given = (value, value) if pair and "tuple" in str(hint) else value
    with pytest.raises(InputError, match=name):
        kind(**{name: given})


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (Whole(0, 3), (0, 3), (-1, 4, 1.0, True, "1", None)),
        (Real(0, 1, below=True), (0, 0.5, 0), (-0.1, 1, float("nan"), float("inf"), True, "1", None)),
        (positive(2), (0.1, 2), (0, -1, 2.1)),
    ],
)
def test_ranges(allowed: Whole | Real, inside: tuple[Any, ...], outside: tuple[Any, ...]) -> None:
    assert all(allowed.holds(value) for value in inside)
    assert not any(allowed.holds(value) for value in outside)
    assert str(allowed).startswith("give a ")


def test_groups_are_dataclasses_that_are_tested_here() -> None:
    for kind in KINDS:
        for name, hint in get_type_hints(kind).items():
            assert not is_dataclass(hint) or hint in KINDS, name
