"""Whether something lies at a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labelfree.files.presence import is_there


def test_files_folders_and_links_are_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    assert is_there(tmp_path)
    assert is_there(tmp_path / "file")
    assert is_there(tmp_path / "link")


def test_missing_paths_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    assert not is_there(tmp_path / "missing")
    assert not is_there(tmp_path / "file" / "below")


def test_what_the_system_does_not_say_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "lstat", refused)
    with pytest.raises(PermissionError):
        is_there(tmp_path / "model.safetensors")
