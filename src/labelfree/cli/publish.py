"""`labelfree publish RUN --repo OWNER/NAME`: upload a run's networks with a model card to the Hugging Face hub."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from labelfree.results.publishing import CARD, push_to_hub, write_published


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add RUN, the name of the repository and the folder of a dry run."""
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--repo", required=True, help="name on the hub, such as owner/office-2026")
    parser.add_argument("--private", action="store_true", help="create the repository as a private one")
    parser.add_argument("--license", default=None, help="licence of the networks, such as apache-2.0 (default: none)")
    parser.add_argument(
        "--dry-run", type=Path, default=None, metavar="DIR", help="write the files into DIR and upload nothing"
    )


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Write or upload the networks, the settings and the card."""
    if options.dry_run is not None:
        files = write_published(options.run, options.repo, options.dry_run, options.license)
        print(f"{len(files)} files are in {options.dry_run}, nothing was uploaded; read {options.dry_run / CARD}")
        return 0
    address = push_to_hub(options.run, options.repo, options.private, options.license)
    print(f"uploaded: {address}")
    return 0
