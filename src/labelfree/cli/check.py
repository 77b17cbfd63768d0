"""`labelfree check DATA`: validate a capture before work starts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from labelfree.cli.arguments import add_data, open_data
from labelfree.data.checking.check import check_collection, raise_problems, render_reports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add DATA and how it is read."""
    add_data(parser)


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check every scene and print the reports. Raises an InputError if a scene has a problem."""
    reports = check_collection(open_data(options))
    print(render_reports(reports))
    raise_problems(reports, "listed above")
    return 0
