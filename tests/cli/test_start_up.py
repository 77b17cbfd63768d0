"""The first line of `labelfree run` comes before PyTorch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SLOW = ("torch", "lightning_fabric", "transformers")


def imported(program: str) -> set[str]:
    script = f"{program}\nimport sys\nprint(*sorted({set(SLOW)!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(found.stdout.splitlines()[-1].split())


def test_options_of_run_are_read_without_pytorch() -> None:
    assert imported("from labelfree.cli.run_config import run_config\nimport labelfree.cli.run") == set()


def test_commands_that_train_nothing_do_not_import_fabric() -> None:
    assert imported("import labelfree.cli.predict, labelfree.cli.label, labelfree.cli.evaluate") == {"torch"}


def test_first_line_names_data_and_recipe(room: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['labelfree.cli.run_work'] = None\n"  # the import of the work fails
        "from labelfree.cli.main import main\n"
        f"main(['run', {str(room)!r}, '--out', {str(tmp_path / 'run')!r}, '--recipe', 'quick'])\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout.splitlines()[0] == f"reading {room} (posed-rgbd), recipe quick"
