from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from labelfree.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--markdown"]) == 0
    assert PAGE.read_text(encoding="utf-8") == capsys.readouterr().out, (
        "labelfree settings --markdown > docs/settings.md"
    )


def test_one_setting_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "switch.granularity"]) == 0
    name, facts, *description = capsys.readouterr().out.splitlines()
    assert name == "switch.granularity = batch"
    assert facts == "    paper: batch; allowed: batch, sample, pixel"
    assert description


def test_a_misspelt_setting_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["settings"], ["settings", "train"], ["settings", "--markdown"]])
def test_torch_is_not_imported(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom labelfree.cli.main import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'numpy', 'transformers', 'jsonargparse') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "[]"
