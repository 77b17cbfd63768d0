"""Temporary files: removed when writing fails, and by the next run when the process was killed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from labelfree.errors import InputError
from labelfree.files import leftovers
from labelfree.files.atomic import UnwritableError, atomic_file, atomic_folder, write_png, write_text
from labelfree.files.leftovers import remove_leftovers, scratch_folder, temporary_name
from labelfree.files.outputs import OutputFolder
from labelfree.teachers.cache import CacheShelf, TeacherCache
from labelfree.training.checkpoint import Position, save_checkpoint
from labelfree.weights.stored import write_model

LEAVE = """
import sys, time
from pathlib import Path
from labelfree.files.atomic import atomic_file, atomic_folder
folder = Path(sys.argv[1])
with atomic_file(folder / "a" / "file") as file, atomic_folder(folder / "b" / "made") as made:
    file.write(b"half")
    (made / "inside").touch()
    print("written", flush=True)
    time.sleep(60)
"""


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_temporaries_of_a_killed_process_are_removed_and_those_of_a_running_one_stay(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", LEAVE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    remove_leftovers(tmp_path)
    assert len(below(tmp_path)) == 2
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie, as in a container without an init
    TeacherCache(tmp_path / "a")
    assert len(below(tmp_path)) == 1
    remove_leftovers(tmp_path)
    assert below(tmp_path) == []
    process.communicate()


def test_writing_beside_a_leftover_removes_it(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", LEAVE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    write_text(tmp_path / "a" / "other", "text")
    with atomic_folder(tmp_path / "b" / "other"):
        pass
    assert below(tmp_path) == ["a/other"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["other"]


def test_a_folder_in_the_place_of_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UnwritableError, match="loop: cannot be written"), atomic_folder(tmp_path / "loop"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


def leave(folder: Path) -> Path:
    """Make a temporary file of a process that has ended: no system has so many."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".half.png.{leftovers._machine()}-{1 << 30}-1-0.tmp"
    path.touch()
    return path


def test_a_second_command_of_a_process_removes_leftovers_where_labelfree_has_written(tmp_path: Path) -> None:
    """In the folders of the record, although this process has cleaned them, and nowhere else."""
    files = [tmp_path / "legend.json", tmp_path / "pixels" / "room" / "1.png"]
    for _ in range(2):
        OutputFolder(tmp_path).claim(files)
        for path in files:
            write_text(path, "")
        left, users = leave(tmp_path / "pixels" / "room"), leave(tmp_path / "mine")
        OutputFolder(tmp_path).claim([tmp_path / "other.png"])
        assert not left.exists()
        assert users.exists()


def test_a_fork_cleans_what_its_parent_has_cleaned(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "")
    left = leave(tmp_path)
    write_text(tmp_path / "b", "")
    assert left.exists()  # a folder is looked through once
    if (child := os.fork()) == 0:
        write_text(tmp_path / "c", "")
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "c").exists()
    assert not left.exists()


def test_a_relative_folder_is_cleaned_in_every_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        left = leave(tmp_path / name / "out")
        monkeypatch.chdir(tmp_path / name)
        write_text(Path("out/file"), "")
        assert not left.exists()


@pytest.mark.parametrize(
    ("name", "aged", "kept"),
    [
        (".file.0123abcd-7-1-0.tmp", 0.0, True),  # of another machine
        (".file.0123abcd-7-1-0.tmp", 2.0, False),
        (".file.12-34.tmp", 0.0, True),  # as versions before this one called them
        (".file.12-34.tmp", 2.0, False),
        (".notes.tmp", 99.0, True),  # the user's
        ("file.0123abcd-7-1-0.tmp", 99.0, True),
    ],
)
def test_only_own_and_old_names_are_removed(tmp_path: Path, name: str, aged: float, kept: bool) -> None:
    path = tmp_path / name
    path.touch()
    then = time.time() - aged * 24 * 3600
    os.utime(path, (then, then))
    remove_leftovers(tmp_path)
    assert path.exists() == kept


def test_a_process_number_used_again_is_another_process(tmp_path: Path) -> None:
    mine = temporary_name(tmp_path / "file")
    machine, process, start, count = mine.name.rpartition(".file.")[2].removesuffix(".tmp").split("-")
    other = tmp_path / f".file.{machine}-{process}-{int(start) - 1}-{count}.tmp"
    mine.touch()
    other.touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]


def test_long_names_and_nested_writes_have_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120 + ".png")
    write_png(path, np.zeros((2, 2), np.uint8))
    with atomic_file(path) as outer:
        write_text(path, "inner")
        outer.write(b"outer")
    assert path.read_bytes() == b"outer"
    assert len({temporary_name(path) for _ in range(5)}) == 5


def test_a_folder_is_replaced_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").touch()
    (tmp_path / "link").symlink_to("real")
    with atomic_folder(tmp_path / "link") as made:
        (made / "new").touch()
    assert below(tmp_path / "real") == ["new"]
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_scratch_folders_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def full_disk(left: int) -> Iterator[None]:
    """Let files grow to a size only, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def checkpoint(folder: Path) -> None:
    model = torch.nn.Linear(100, 100)
    save_checkpoint(folder, model, torch.optim.SGD(model.parameters(), 0.1), Position(), "digest")


NOISE = np.random.default_rng(0).integers(0, 255, (99, 99), dtype=np.uint8)

WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda folder: write_text(folder / "file", "x" * 9000),
    "picture": lambda folder: write_png(folder / "file", NOISE),
    "cache arrays": lambda folder: CacheShelf(folder).put_arrays("0" * 16, {"a": NOISE}),
    "cache picture": lambda folder: CacheShelf(folder).put_picture("0" * 16, NOISE),
    "networks": lambda folder: write_model(folder, {}, {"a": torch.rand(9000)}),
    "checkpoint": checkpoint,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with full_disk(4096), pytest.raises(InputError, match=r"cannot be written \(File too large\); free disk space"):
        WRITERS[name](tmp_path)
    assert list(tmp_path.iterdir()) == []
    WRITERS[name](tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk(4096), pytest.raises(InputError):
        WRITERS[name](tmp_path)
    assert before.items() <= {path.name: path.read_bytes() for path in tmp_path.iterdir()}.items()
    assert not list(tmp_path.glob(".*"))


def test_where_nothing_can_be_written_is_named_and_other_errors_pass(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableError, match=r"file/x: cannot be written \((Not a directory|File exists)\)"):
        write_text(tmp_path / "file" / "x", "")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(UnwritableError, match=r"folder: cannot be written \(Is a directory\)"):
        write_text(tmp_path / "folder", "")
    with pytest.raises(FileNotFoundError, match="missing"), atomic_file(tmp_path / "new"):
        (tmp_path / "missing").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
