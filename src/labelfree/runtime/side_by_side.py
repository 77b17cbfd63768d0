"""Two independent computations at once on the cores of one machine.

Small networks leave most of a second thread idle: each of their operations is too short to share. Two networks that do
not wait for each other fill two cores with one operation each, and the result of each stays that of its own thread
count, whatever the other one does.
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
    """Return both results; with two threads or more, `second` runs beside `first` and each takes half of them.

    Autocast, gradient and inference mode of the caller hold in both. Both are over when this returns or raises.
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
            future.exception()  # wait for it, whatever happened to the first
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
