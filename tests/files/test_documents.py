"""Text, JSON, YAML and arrays of users: one sentence with the file for everything that cannot be read."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelfree.errors import InputError, shown
from labelfree.files.documents import DEEPEST, MOST_NODES, parse_yaml, read_array, read_json, read_text, read_yaml

NINE = "[" + ",".join("x" * 9) + "]"
BOMB = f"a0: &a0 {NINE}\n" + "".join(f"a{i + 1}: &a{i + 1} [{','.join([f'*a{i}'] * 9)}]\n" for i in range(9))


def refused(read: Callable[[Path], Any], path: Path) -> str:
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        read(path)
    assert time.monotonic() - started < 10
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 600
    return text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested more than"),
        ("[" * (DEEPEST + 5) + "]" * (DEEPEST + 5), "nested more than"),
        ("{", "not JSON"),
        ("9" * 5000, "not JSON"),
        ('"\\ud800"', "surrogate"),
    ],
)
def test_json_that_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(text)
    assert words in refused(read_json, path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "aliases"),
        ("a: &a {b: *a}", "inside its own value"),
        ("[" * 100_000, "nested more than"),
        ("when: 2001-99-99", "not valid YAML"),
        ("a: !!int ''", "not valid YAML"),
        ("a: b: c", "line 1, column 5"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a: \x07", "not valid YAML"),
        ('a: "\\ud800"', "surrogate"),
        ("a: " + "9" * 5000, "not valid YAML"),
    ],
)
def test_yaml_that_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    assert words in refused(read_yaml, path)


def test_what_is_not_a_file_of_text(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes("a\nö".encode("latin-1"))
    (tmp_path / "large").write_bytes(b" " * 1001)
    assert "not a regular file" in refused(read_text, tmp_path / "pipe")
    assert "not a regular file" in refused(read_text, tmp_path)
    assert "not a regular file" in refused(read_text, Path("/dev/zero"))
    assert "no such file" in refused(read_text, tmp_path / "missing")
    assert "line 2: is not UTF-8" in refused(read_text, tmp_path / "latin")
    assert "is larger than" in refused(lambda path: read_text(path, 1000), tmp_path / "large")


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", denied)
    assert "cannot be read (Permission denied)" in refused(read_text, tmp_path / "secret")


def test_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: &a [1, 2]\nb: *a\nb: {<<: {c: 1}, d: 2001-09-09}\n")
    assert shown(read_yaml(path)) == "{'a': [1, 2], 'b': {'c': 1, 'd': datetime.date(2001, 9, 9)}}"
    path.write_text(json.dumps({"a": "😀", "b": [[[1.5]]]}))
    assert read_json(path) == {"a": "😀", "b": [[[1.5]]]}
    values = parse_yaml("[" + "1," * (MOST_NODES // 10) + "]", "here")
    assert len(values) == MOST_NODES // 10


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    assert np.array_equal(read_array(path), np.arange(6.0).reshape(2, 3))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(2, 3), }    ", b"(2000000000, 3), }")[: len(whole)])
    assert "cannot be read as an array" in refused(read_array, path)
    for content in (whole[:-4], b"", whole[:30], b"PK\x03\x04" + bytes(100), b"hello"):
        path.write_bytes(content)
        refused(read_array, path)
    np.save(path, np.array([1j, 2]))
    assert "real numbers" in refused(read_array, path)
    np.savez(tmp_path / "b.npz", a=np.zeros(3))
    (tmp_path / "b.npz").rename(path)
    refused(read_array, path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(2**62 + 1, 4), (2**63 - 1,), (10**30,)])
def test_an_array_of_impossible_size_is_one_sentence(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    header = repr({"descr": "|b1", "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(InputError, match=r"a\.npy: cannot be read as an array"):
        read_array(path)
