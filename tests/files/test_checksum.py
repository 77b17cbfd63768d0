from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.damage import single_bit_flips
from labelfree.files.checksum import DamagedError, checked_file, open_checked, read_checked


@pytest.mark.parametrize("content", [b"", b"x" * 5_000])
def test_what_was_written_is_read_and_damage_is_found(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    with checked_file(path, sync=True) as file:
        file.write(content[:10])
        file.write(memoryview(content)[10:])
    assert read_checked(path) == content
    with open_checked(path) as file:
        assert file.read(len(content)) == content
    for damage in single_bit_flips(path):
        assert read_checked(path) is None, damage
        with pytest.raises(DamagedError), open_checked(path):
            pytest.fail(damage)


@pytest.mark.parametrize("kept", [0, 1, 47, 48, 60, 99])
def test_truncated_and_foreign_files_are_damaged(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "file"
    with checked_file(path) as file:
        file.write(b"y" * 52)
    path.write_bytes(path.read_bytes()[:kept])
    assert read_checked(path) is None
    with pytest.raises(DamagedError), open_checked(path):
        pass
    assert read_checked(tmp_path / "none") is None
    assert read_checked(tmp_path) is None


def test_pictures_and_archives_stay_readable_by_others(tmp_path: Path) -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with checked_file(tmp_path / "a.png") as file:
        Image.fromarray(picture).save(file, format="PNG")
    assert (np.array(Image.open(tmp_path / "a.png")) == picture).all()
    with checked_file(tmp_path / "a.npz") as file:
        np.savez(file, picture=picture)
    with open_checked(tmp_path / "a.npz") as file, np.load(file) as stored:
        assert (stored["picture"] == picture).all()
