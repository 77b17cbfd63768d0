"""The environment of a result: package versions, machine and source revision."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
"""The folder of the package's source."""

PACKAGES = ("labelfree", "torch", "transformers", "numpy", "pillow", "lightning-fabric", "plotly")


def environment_facts() -> tuple[tuple[str, str], ...]:
    """Return names and values for a report; the packages are not imported."""
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := installed_version(name)))
    facts = [
        ("python", platform.python_version()),
        ("packages", versions),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores"),
    ]
    revision = git_revision(PACKAGE)
    return (*facts, ("source revision", revision)) if revision else tuple(facts)


def git_revision(folder: Path) -> str:
    """Return the commit of a package's checkout, marked if files are changed; empty outside a checkout."""
    try:
        # An installed copy may lie inside another repository: only one that tracks this package counts.
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit} with local changes" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def installed_version(name: str) -> str:
    """Return the version of an installed package; empty if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
