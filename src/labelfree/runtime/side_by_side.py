"""Two independent computations at the same time on the cores of one machine.

A single operation of a small network is too short to be split among threads. Two networks that run side by side use two
cores with one operation each. The result of each depends only on its own number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

First = TypeVar("First")
Second = TypeVar("Second")

_lane = threading.local()


def side_by_side(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """Return both results. With two threads or more, both run at the same time with half of the threads each.

    The caller's autocast, gradient and inference modes apply to both. Both have ended when this returns or raises.
    """
    threads = torch.get_num_threads()
    if threads < 2 or getattr(_lane, "is_second", False):
        return first(), second()
    half = threads // 2
    task = _in_same_modes(second, half)
    torch.set_num_threads(threads - half)
    try:
        future = _worker().submit(task)
        try:
            result = first()
        finally:
            future.exception()  # wait for it, even if the first failed
        return result, future.result()
    finally:
        torch.set_num_threads(threads)


@cache
def _worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="side-by-side")


def _in_same_modes(task: Callable[[], Second], threads: int) -> Callable[[], Second]:
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    cast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def run() -> Second:
        _lane.is_second = True
        torch.set_num_threads(threads)
        with torch.inference_mode(inference), torch.set_grad_enabled(grad), torch.autocast("cpu", dtype, cast):
            return task()

    return run
