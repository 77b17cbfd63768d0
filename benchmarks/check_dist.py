"""Check what a wheel and a source archive contain.

    python -m benchmarks.check_dist dist

A wheel has exactly the files of `src`, without the second pairs of teachers, and its metadata. A source archive has
those, the documentation and the examples; it has no results, tests or data. The exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import fnmatch
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 40 * 10**6
"""Bytes."""
PACKAGES = ("src/labelfree/", "src/labelfree_lab/")
LEFT_OUT = "src/labelfree_lab/weights/*-b/*"
"""The second pairs of teachers, which only the tables of a checkout need."""
METADATA = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
BESIDE_SRC = {
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "PKG-INFO"),
    *("Makefile", "Containerfile", "constraints.txt", "mkdocs.yml", ".gitignore"),
}
SDIST_FOLDERS = {"src", "docs", "examples"}


def wheel_problems(names: Iterable[str], expected: Iterable[str], size: int) -> list[str]:
    """Return one line for each file that a wheel lacks or has too much, and for its size in bytes."""
    names = set(names)
    metadata = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    packages = {path.removeprefix("src/") for path in expected}
    short = {name.partition("/")[2] for name in metadata}
    problems = [f"the wheel lacks {name}" for name in sorted(packages - names)]
    problems += [f"the wheel lacks {name} in its dist-info" for name in METADATA if name not in short]
    problems += [f"the wheel should not have {name}" for name in sorted(names - metadata - packages)]
    if size >= LARGEST_WHEEL:
        problems.append(f"the wheel has {size / 1e6:.1f} MB, at most {LARGEST_WHEEL / 1e6:.0f} MB are allowed")
    return problems


def sdist_problems(names: Iterable[str], expected: Iterable[str]) -> list[str]:
    """Return one line for each file that a source archive lacks or has too much; names without its top folder."""
    names = set(names)
    source = {name for name in names if name.startswith("src/")}
    expected = set(expected)
    problems = [f"the source archive lacks {name}" for name in sorted((expected | {"pyproject.toml"}) - names)]
    problems += [f"the source archive should not have {name}" for name in sorted(source - expected)]
    beside = {name for name in names if name.partition("/")[0] not in SDIST_FOLDERS}
    problems += [f"the source archive should not have {name}" for name in sorted(beside - BESIDE_SRC)]
    return problems


def package_files(root: Path) -> set[str]:
    """Return the files of both packages that git knows and a distribution must have."""
    done = subprocess.run(["git", "ls-files", "-z", *PACKAGES], cwd=root, capture_output=True, check=True)
    names = (name for name in done.stdout.decode().split("\0") if name and (root / name).is_file())
    return {name for name in names if not fnmatch.fnmatch(name, LEFT_OUT)}


def check(folder: Path, root: Path = ROOT) -> list[str]:
    """Return one line for each problem of the wheel and the source archive in a folder."""
    wheels, archives = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if len(wheels) != 1 or len(archives) != 1:
        return [f"{folder}: holds {len(wheels)} wheels and {len(archives)} source archives, expected one of each"]
    expected = package_files(root)
    with zipfile.ZipFile(wheels[0]) as wheel:
        problems = wheel_problems(wheel.namelist(), expected, wheels[0].stat().st_size)
    with tarfile.open(archives[0]) as archive:
        names = [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]
    return problems + sdist_problems(names, expected)


def main() -> int:
    """Print every problem; return 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of one wheel and one source archive")
    problems = check(parser.parse_args().folder)
    print("\n".join(problems) or "wheel and source archive have the right files")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
