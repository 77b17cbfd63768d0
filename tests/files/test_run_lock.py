"""Run folders are held by one process at a time, and by nobody once that process has ended."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from labelfree.errors import DataWarning, InputError
from labelfree.files.run_lock import run_lock

HOLD = """
import sys, time
from labelfree.files.run_lock import run_lock
with run_lock(sys.argv[1], "train"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_the_first_one_named(tmp_path: Path) -> None:
    process = holder(tmp_path / "run")
    try:
        sentence = rf"run is in use by process {process.pid} on .* since .* \(labelfree train\); wait for it or choose"
        with pytest.raises(InputError, match=sentence), run_lock(tmp_path / "run", "train"):
            pytest.fail("both hold it")
    finally:
        process.kill()
        process.communicate()
    with run_lock(tmp_path / "run", "run"):  # a killed process holds nothing
        assert (tmp_path / "run").is_dir()


def test_shards_and_ranks_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_lock(tmp_path, "label", "1-of-2"), run_lock(tmp_path, "label", "2-of-2"):
        pass
    with run_lock(tmp_path, "train"):
        monkeypatch.setenv("LOCAL_RANK", "1")
        with run_lock(tmp_path, "train"):
            pass


def test_a_folder_that_nothing_was_written_to_is_removed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), run_lock(tmp_path / "a" / "b", "train"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with run_lock(tmp_path / "mine", "train"):
        pass
    assert (tmp_path / "mine").is_dir()
    with run_lock(tmp_path / "new", "train"):
        (tmp_path / "new" / "result").touch()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [".run.lock", "result"]


def test_what_cannot_be_a_run_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match=r"file.*cannot be used as a folder"), run_lock(folder, "train"):
            pass


@pytest.mark.parametrize(("number", "held"), [(errno.ENOLCK, True), (errno.EACCES, False)])
def test_file_systems_without_locks_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, held: bool
) -> None:
    def fail(self: FileLock, **_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", fail)
    if held:
        with pytest.warns(DataWarning, match="has no locks"), run_lock(tmp_path, "train"):
            pass
    else:
        with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"), run_lock(tmp_path, "train"):
            pass
