"""Install a wheel into an empty environment without extras, run the demo there, and ask for each missing extra.

    python -m benchmarks.install_check dist/labelfree-0.1.0-py3-none-any.whl

Takes minutes: it installs PyTorch. Give `--venv DIR` to keep the environment and to use it again. The exit code is 1
if a command fails, if the package of an extra is there, or if its absence is not one sentence with the fix.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = "torch==2.13.0"
DEMO = ("--rooms", "2", "--held-out", "1", "--train.epochs=2", "--switch.start_epoch=1", "--threads", "1")


@dataclass(frozen=True)
class MissingExtra:
    """A command that needs an extra; `verb` is looked for in the help first."""

    extra: str
    package: str
    verb: str
    command: tuple[str, ...]


EXTRAS = (
    MissingExtra(
        "tensorboard", "tensorboard", "train", ("train", "{scene}", "--out", "tb", "--train.tensorboard=true")
    ),
    MissingExtra("ray", "ray", "label", ("label", "{scene}", "--out", "labels", "--engine", "ray")),
    MissingExtra("points", "laspy", "export", ("predict", "{run}", "{cloud}", "--out", "cloud")),
    MissingExtra("bags", "rosbags", "import", ("import", "rosbag", "{bag}", "--out", "bag")),
    MissingExtra("viewer", "viser", "view", ("view", "{run}")),
)


def main() -> int:
    """Install, run and ask; print one line for each step with its seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the wheel that is installed")
    parser.add_argument("--venv", type=Path, default=None, help="folder of the environment (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labelfree-install-") as folder:
        work = Path(folder)
        binaries = _install(options.wheel.resolve(), (options.venv or work / "venv").resolve())
        problems = _packages(binaries) + _demo(binaries, work) + _missing(binaries, work)
    print("\n".join(problems) or "the wheel works without extras")
    return int(bool(problems))


def _install(wheel: Path, place: Path) -> Path:
    started = time.monotonic()
    if not (place / "pyvenv.cfg").is_file():
        venv.create(place, with_pip=True)
    pip = (str(place / "bin" / "pip"), "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"))
    subprocess.run((*pip, TORCH), check=True)  # pinned first: an open requirement would pull CUDA
    subprocess.run((*pip, str(wheel)), check=True)
    subprocess.run((*pip, "--no-deps", "--force-reinstall", str(wheel)), check=True)
    print(f"installed in {time.monotonic() - started:.0f} s")
    return place / "bin"


def _packages(binaries: Path) -> list[str]:
    """Return the extras' packages that are there, and what `pip check` reports."""
    names = [each.package for each in EXTRAS]
    code = f"import importlib.util as u; print(*[name for name in {names!r} if u.find_spec(name)])"
    found = subprocess.run([binaries / "python", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    checked = subprocess.run([binaries / "pip", "check"], capture_output=True, text=True, check=False)
    return [f"{name} is installed without its extra" for name in found] + (
        [checked.stdout.strip()] if checked.returncode else []
    )


def _demo(binaries: Path, work: Path) -> list[str]:
    started = time.monotonic()
    done = _labelfree(binaries, work, "demo", "--out", "demo", *DEMO)
    print(f"labelfree demo {' '.join(DEMO)}: {time.monotonic() - started:.0f} s")
    if done.returncode or not (work / "demo" / "report.html").is_file():
        return [f"labelfree demo failed with code {done.returncode}: {done.stderr[-2000:]}"]
    return []


def _missing(binaries: Path, work: Path) -> list[str]:
    """Return the extras whose absence is not told in one sentence with the command that installs them."""
    cloud, bag = work / "cloud.laz", work / "walk.mcap"
    cloud.write_bytes(b"LASF")
    bag.write_bytes(b"\x89MCAP0\r\n")
    places = {"scene": work / "demo/data/train/room-000", "run": work / "demo", "cloud": cloud, "bag": bag}
    verbs = _labelfree(binaries, work, "--help").stdout
    problems = []
    for each in EXTRAS:
        if f"\n  {each.verb} " not in verbs:
            problems.append(f"extra {each.extra}: there is no verb '{each.verb}'")
            continue
        done = _labelfree(binaries, work, *(part.format(**places) for part in each.command))
        told = done.stderr.strip().splitlines() or [""]
        print(f"{each.extra}: code {done.returncode}, {told[-1]}")
        if done.returncode != 2 or f"labelfree[{each.extra}]" not in told[-1]:
            problems.append(f"extra {each.extra}: expected code 2 and a sentence with labelfree[{each.extra}]")
    return problems


def _labelfree(binaries: Path, work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(binaries / "labelfree"), *arguments]
    return subprocess.run(command, cwd=work, env=clean, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
