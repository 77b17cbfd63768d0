"""`labelfree check DATA`: validate a capture before work starts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from labelfree.cli.arguments import add_data, open_data, require_sound


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA."""
    add_data(parser)


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check every frame of every scene; print a table per scene, stop with one sentence at the first problem."""
    for report in require_sound(open_data(options)):
        print(report.render())
    return 0
