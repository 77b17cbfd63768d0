"""`labelfree info`: print versions, device and number format for bug reports."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments; the verb has none of its own."""


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Print versions, device and number format."""
    import torch

    from labelfree.results.environment import environment_facts
    from labelfree.runtime.precision import fabric_precision

    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, value in (*environment_facts(), ("device", device), ("precision", fabric_precision(device))):
        print(f"{name:16} {value}")
    return 0
