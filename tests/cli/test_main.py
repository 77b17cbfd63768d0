"""The command line's edge: every failure is one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from labelfree.cli import info
from labelfree.cli.failures import sentence
from labelfree.cli.main import main
from labelfree.errors import InputError


def os_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """Return what carries out a verb that ends in an error."""

    def run_with(error: BaseException) -> int:
        def run(*_: Any) -> int:
            raise error

        monkeypatch.setattr(info, "run", run)
        return main(["info"])

    return run_with


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (os_error(errno.ENOSPC, "runs/x"), "runs/x: the disk is full"),
        (os_error(errno.ENOSPC), "the disk is full"),
        (os_error(errno.EDQUOT, "runs/x"), "runs/x: the disk quota"),
        (os_error(errno.EROFS, "runs/x"), "runs/x: the file system is read-only"),
        (os_error(errno.EACCES, "a.png"), "a.png: permission denied"),
        (os_error(errno.ENOTDIR, "a/b"), "a/b: a part of this path is a file"),
        (os_error(errno.EISDIR, "a"), "a: this is a folder where a file is expected"),
        (os_error(errno.EEXIST, "a"), "a: this is a file where a folder is expected"),
        (os_error(errno.EMFILE), "too many open files"),
        (os_error(errno.ENAMETOOLONG, "a"), "a: the name is too long"),
        (os_error(errno.EIO, "a"), "a: the disk reports an input/output error"),
        (os_error(errno.EXDEV, "a"), "a: Invalid cross-device link"),
        (OSError("image file is truncated"), "image file is truncated; check"),
        (MemoryError("Unable to allocate 6 GiB"), "not enough memory (Unable to allocate 6 GiB); lower"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "not enough memory"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "the disk is full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"), "the disk is full"),
        (RuntimeError("unable to write </torch_1>: No space left on device (28)"), "the disk is full"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "lower train.workers"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), "not valid UTF-8"),
        (ValueError("embedded null byte"), "zero byte"),
        (InputError("a.png: broken\nby \x1b[31m design."), r"a.png: broken\nby \x1b[31m design."),
    ],
)
def test_failures_are_one_sentence(
    error: BaseException, expected: str, failing: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(error) == 2
    told = capsys.readouterr().err
    assert told.startswith("labelfree: ")
    assert told.count("\n") == 1
    assert expected in told


@pytest.mark.parametrize("error", [AssertionError("no"), TypeError("no"), KeyError("x"), RuntimeError("shape")])
def test_a_defect_keeps_its_traceback_and_asks_for_a_report(
    error: Exception, failing: Callable[[BaseException], int]
) -> None:
    with pytest.raises(type(error)) as raised:
        failing(error)
    assert "labelfree info" in raised.value.__notes__[-1]


def test_a_defect_while_a_failure_is_handled_is_a_defect(failing: Callable[[BaseException], int]) -> None:
    defect = TypeError("no")
    defect.__context__ = os_error(errno.ENOSPC)
    with pytest.raises(TypeError):
        failing(defect)


def test_safetensors_name_the_full_disk_by_number() -> None:
    error = ValueError('Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space" })')
    assert "the disk is full" in str(sentence(error))
    assert "the disk is full" in str(sentence(ValueError("I/O error: No space left on device (os error 28)")))


class Failing(Dataset[int]):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (os_error(errno.ENOSPC, "cache/x"), "cache/x: the disk is full"),
        (InputError("a.png: is broken; copy it again."), "a.png: is broken; copy it again."),
    ],
)
def test_errors_of_worker_processes_count(error: Exception, expected: str) -> None:
    with pytest.raises(type(error)) as raised:
        next(iter(DataLoader(Failing(error), num_workers=1)))
    assert str(sentence(raised.value)).startswith(expected)
    assert "Traceback" not in str(sentence(raised.value))


def test_a_full_disk_under_torch_save() -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full")
    with pytest.raises(RuntimeError) as raised:
        torch.save({"a": torch.zeros(100_000)}, "/dev/full")
    assert "the disk is full" in str(sentence(raised.value))


@pytest.fixture
def own_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:  # a job in the background starts with ignored signals
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.usefixtures("own_handlers")
def test_signals_stop_the_work(
    number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: Any) -> int:
        try:
            signal.raise_signal(number)
            return 0
        except KeyboardInterrupt as error:
            raise ImportError("what was interrupted may say something else") from error

    monkeypatch.setattr(info, "run", run)
    assert main(["info"]) == code
    assert capsys.readouterr().err == "labelfree: stopped; run the same command again to resume.\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # the second one ends the process


@pytest.mark.usefixtures("own_handlers")
def test_ignored_signals_stay_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run(*_: Any) -> int:
        signal.raise_signal(signal.SIGHUP)
        return 7

    monkeypatch.setattr(info, "run", run)
    assert main(["info"]) == 7


def test_a_reader_that_leaves_is_no_failure() -> None:
    command = f"{sys.executable} -m labelfree --help | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[0].startswith("usage")
    assert result.stderr == ""


def test_output_is_escaped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(info, "run", lambda *_: print("scene\t\x1b[31m\u202e\nnext") or 0)
    assert main(["info"]) == 0
    assert capsys.readouterr().out == "scene\t\\x1b[31m\\u202e\nnext\n"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--train.epochs=[", "--train.epochs is '[': not a value in YAML"),
        ("--train=3", "group of settings: write keys below it, such as train.epochs"),
        ("--=3", "unknown key ''"),
        ("--train..epochs=3", "unknown key 'train.'"),
        ("--train.epochs=!!python/object:os.system", "not a value in YAML"),
        ("--train=&a [*a,*a]", "aliases (*) are not read"),
        ("--train.epochs=" + "[" * 200, "nested too deeply"),
        ("--train.epochs=" + "1" * 20_000, "20,000 characters"),
        ("--" + "train." * 5000 + "epochs=3", "no setting has so many parts"),
        ("--train.epochs=\x1b", "not a value in YAML"),
        ("--labels.image_size=[1,2,3]", "labels.image_size is [1, 2, 3]: give a list of 2"),
        ("--labels.image_size=[1000000,1000000]", "labels.image_size is (1000000, 1000000)"),
        ("--labels.refine=null", "labels.refine is null"),
        ("--pairing.tolerance_m=-0.1", "pairing.tolerance_m is -0.1: give a positive number"),
        ("--memory_gb=.nan", "memory_gb is nan"),
        ("--train.workers=-1", "train.workers is -1"),
        ("--switch.pool_2d=[clip_9d]", "one of clip_2d, clip_3d, net_2d, net_3d"),
        ("--seed=9223372036854775808", "seed is 9223372036854775808"),
        ("--device=banana", "--device is 'banana': give auto, cpu, cuda"),
        ("--device=cuda:999", "--device is cuda:999"),
        ("--processes=0", "--processes is 0"),
        ("--processes=-3", "--processes is -3"),
        ("--threads=0", "--threads is 0"),
        ("--classes=", "neither a comma list"),
        ("--classes=,", "neither a comma list"),
        ("--classes=a,a", "more than once"),
        ("--classes=" + ",".join(map(str, range(300))), "300 classes"),
        ("--classes=a," + "b" * 10_000, "10,000 characters"),
        ("--clip=somewhere/else/clip", "no such folder"),
    ],
)
def test_broken_settings_are_one_sentence(
    override: str, message: str, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(room), "--out", str(tmp_path / "out"), "--train.epochs=1", override]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert message in told[-1]
    assert len(told[-1]) < 500
    assert "Traceback" not in "".join(told)


def test_what_the_user_typed_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no\x1b[31m\nsuch"]) == 2
    assert capsys.readouterr().err == "labelfree: no\\x1b[31m\\nsuch: no such folder or description file.\n"
    with pytest.raises(SystemExit) as stop:
        main(["check", "a", "--\x1b[31m"])
    assert stop.value.code == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_signal_lost_in_a_destructor_still_stops(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def work(*_: object) -> int:
        Finalised()
        time.sleep(20)
        return 0

    monkeypatch.setattr("labelfree.cli.main._carry_out", work)
    started = time.monotonic()
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["info"]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - started < 10
    told = capfd.readouterr().err
    assert "Traceback" not in told
    assert told.startswith("labelfree: stopped")
