"""`labelfree settings [PREFIX]`: every setting with its default, the paper's value, allowed values and description."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from labelfree.config.catalogue import catalogue, settings_markdown, settings_text

HEADER = """# Settings

Every setting of a run. A recipe (`labelfree run --recipe FILE.yaml`) states them as nested YAML keys;
`--a.b=c` on the command line overrides one, for example `--train.epochs=3`.

Column "paper" gives the value of the paper's ScanNet setting, and of its nuScenes setting where that
differs; "open" means that the paper does not say, a dash that no paper can. Extensions that are not in
the paper are off there. This page is generated: `labelfree settings --markdown > docs/settings.md`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """PREFIX and format."""
    parser.add_argument(
        "prefix", nargs="?", default="", help="first part of the names, such as train or teachers.clip_options"
    )
    parser.add_argument("--markdown", action="store_true", help="print the page docs/settings.md")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Print the settings."""
    found = catalogue(options.prefix.removeprefix("--"))
    if options.markdown:
        print(f"{HEADER}\n{settings_markdown(found)}", end="")
    else:
        print(settings_text(found))
    return 0
