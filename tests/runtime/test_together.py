"""What several processes do together: exchanges, shared work, and errors that end all."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from lightning_fabric import Fabric

from helpers.process_group import ProcessGroup
from helpers.toy_training import cpu
from labelfree import InputError
from labelfree.runtime.together import (
    gathered,
    guarded,
    joint_mean,
    same_in_all,
    shared_parts,
    together,
    zero_first,
)


def exchanged(fabric: Fabric) -> tuple[list[str], list[float], list[float]]:
    value = torch.tensor([1.0, float(fabric.global_rank)])
    mean = joint_mean(fabric, value)
    return gathered(fabric, f"of {fabric.global_rank}"), mean.tolist(), value.tolist()


def test_exchanges(process_group: ProcessGroup) -> None:
    first, second = process_group.run(exchanged)
    assert first == (["of 0", "of 1"], [1.0, 0.5], [1.0, 0.0])
    assert second == (["of 0", "of 1"], [1.0, 0.5], [1.0, 1.0])  # what is given stays as it is
    assert exchanged(cpu()) == (["of 0"], [1.0, 0.0], [1.0, 0.0])


def failing(fabric: Fabric, ranks: tuple[int, ...]) -> str:
    with together(fabric):
        if fabric.global_rank in ranks:
            raise InputError(f"from {fabric.global_rank}")
    return "done"


@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1)])
def test_an_error_in_one_process_ends_all_and_one_reports_it(
    process_group: ProcessGroup, ranks: tuple[int, ...]
) -> None:
    found = process_group.run(failing, ranks)
    told = ranks[0]
    assert (found[told].kind, found[told].text) == ("InputError", f"from {told}")
    assert found[1 - told].kind == "Ended"
    assert process_group.run(failing, ()) == ["done", "done"]
    with pytest.raises(InputError, match="from 0"):
        failing(cpu(), (0,))


def same(fabric: Fabric) -> None:
    with same_in_all(fabric):
        raise InputError("in all")


def test_an_error_of_all_is_reported_once(process_group: ProcessGroup) -> None:
    assert [each.kind for each in process_group.run(same)] == ["InputError", "Ended"]


def in_turn(fabric: Fabric) -> tuple[float, float]:
    def make() -> tuple[float, float]:
        started = time.time()
        time.sleep(0.05)
        return started, time.time()

    return zero_first(fabric, make)


def test_process_zero_is_first(process_group: ProcessGroup) -> None:
    (_, end), (start, _) = process_group.run(in_turn)
    assert end <= start


def taken(fabric: Fabric, parts: int) -> list[int]:
    with shared_parts(fabric, parts) as mine, together(fabric):
        found = []
        for part in mine:
            found.append(part)
            time.sleep(0.05 if fabric.global_rank else 0.01)  # process 1 is slower
    return found


def test_each_part_goes_to_one_process(process_group: ProcessGroup) -> None:
    first, second = process_group.run(taken, 12)
    assert sorted(first + second) == list(range(12))
    assert process_group.run(taken, 0) == [[], []]
    assert taken(cpu(), 3) == [0, 1, 2]


def lost(fabric: Fabric, error: Callable[[str], Exception], text: str) -> None:
    with guarded(fabric):
        raise error(text)


def test_the_loss_of_another_process_is_one_sentence(process_group: ProcessGroup) -> None:
    text = "[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:4561"
    for rank, failure in enumerate(process_group.run(lost, RuntimeError, text)):
        assert failure.kind == "InputError"
        assert failure.text.startswith(f"process {rank} of 2 lost the connection to another process, whose message")
    assert {each.kind for each in process_group.run(lost, RuntimeError, "shapes differ")} == {"RuntimeError"}
    assert {each.kind for each in process_group.run(lost, ValueError, "gloo")} == {"ValueError"}
