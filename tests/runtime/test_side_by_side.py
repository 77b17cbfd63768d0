"""Two computations at once: results, modes, threads, failures."""

from __future__ import annotations

import threading

import pytest
import torch

from labelfree.runtime.side_by_side import side_by_side


@pytest.mark.usefixtures("two_threads")
def test_both_run_at_once_with_half_of_the_threads_each() -> None:
    meeting = threading.Barrier(2, timeout=20)

    def lane() -> int:
        meeting.wait()  # passes only if the other lane runs meanwhile
        return torch.get_num_threads()

    assert side_by_side(lane, lane) == (1, 1)
    assert torch.get_num_threads() == 2


def test_one_thread_runs_them_one_after_the_other() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    seen: list[threading.Thread] = []
    try:
        side_by_side(lambda: seen.append(threading.current_thread()), lambda: seen.append(threading.current_thread()))
    finally:
        torch.set_num_threads(before)
    assert seen == [threading.current_thread()] * 2


@pytest.mark.usefixtures("two_threads")
def test_a_second_lane_within_a_second_lane_does_not_wait_for_itself() -> None:
    torch.set_num_threads(8)
    assert side_by_side(lambda: 1, lambda: side_by_side(lambda: 2, lambda: 3)) == (1, (2, 3))


@pytest.mark.usefixtures("two_threads")
def test_the_second_lane_has_the_modes_of_the_caller() -> None:
    def modes() -> tuple[bool, bool, torch.dtype | None]:
        cast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), cast

    with torch.inference_mode():
        assert len(set(side_by_side(modes, modes))) == 1
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert side_by_side(modes, modes) == ((False, False, torch.bfloat16),) * 2
    assert side_by_side(modes, modes) == ((True, False, None),) * 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_reaches_the_caller_after_both_are_over(failing: int) -> None:
    over = []

    def good() -> None:
        over.append(True)

    def bad() -> None:
        raise ValueError("lane")

    with pytest.raises(ValueError, match="lane"):
        side_by_side(*((bad, good) if failing == 0 else (good, bad)))
    assert over
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_gradients_equal_those_of_one_thread() -> None:
    def gradient() -> torch.Tensor:
        weight = torch.arange(12.0).reshape(3, 4).requires_grad_()
        (weight.sin() @ weight.T).square().sum().backward()
        assert weight.grad is not None
        return weight.grad

    both = side_by_side(gradient, gradient)
    assert torch.equal(both[0], both[1])
