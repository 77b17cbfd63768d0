"""Damage files: bits, bytes, lines, special files in place of a file, and errors of each format."""

from __future__ import annotations

import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import yaml
from benchmarks.faults.formats import ARRAY, PLY, POINTS, SAFETENSORS, SENS, TORCH
from benchmarks.faults.images import IMAGE
from benchmarks.faults.values import HOSTILE_NAMES, damage_tree
from PIL import Image

Rng = np.random.Generator
Damage = Callable[[Rng, Path], str]

SPECIFIC_SHARE = 0.55
TWICE_SHARE = 0.08
SPARSE_BYTES = 8 << 30
WORDS = ("nan", "inf", "-inf", "1e400", "-1", "0", "99999999999999999999", "x", "", "../../x", "1e-300", "\x1b[31mred")


def damage(random: Rng, root: Path, only: Callable[[Path], bool] = lambda path: True) -> str:
    """Damage one file under `root`, sometimes two; return a description."""
    done = [_damage_one(random, root, only)]
    if random.random() < TWICE_SHARE:
        done.append(_damage_one(random, root, only))
    return "; ".join(done)


NOT_POSSIBLE = (
    *(ValueError, KeyError, IndexError, TypeError, OSError, EOFError, SyntaxError, RecursionError, MemoryError),
    *(BadZipFile, zlib.error, struct.error, yaml.YAMLError, Image.DecompressionBombError),
)
"""What readers raise for a file that was damaged before, or is too small for a kind of damage."""


def _damage_one(random: Rng, root: Path, only: Callable[[Path], bool]) -> str:
    target = _target(random, root, only)
    if target is None:
        return "nothing to damage"
    actions = _actions(target)
    specific = actions and random.random() < SPECIFIC_SHARE
    chosen: Sequence[Damage] = actions if specific else GENERIC
    action = chosen[int(random.integers(len(chosen)))]
    try:
        done = action(random, target)
    except NOT_POSSIBLE:  # the file is already damaged, or too small
        action = bit_flips
        done = action(random, target)
    return f"{target.relative_to(root)}: {done}"


def _target(random: Rng, root: Path, only: Callable[[Path], bool]) -> Path | None:
    """Return a random file, with equal probability for each kind of file whatever the number of its files."""
    kinds: dict[tuple[str, str], list[Path]] = {}
    for folder, _, names in sorted(os.walk(root)):
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink() and only(path):
                place = re.sub(r"[0-9a-f]{6,}|\d+", "#", str(path.parent.relative_to(root)))
                kinds.setdefault((place, re.sub(r"[0-9a-f]{6,}|\d+", "#", name)), []).append(path)
    if not kinds:
        return None
    paths = kinds[sorted(kinds)[int(random.integers(len(kinds)))]]
    return paths[int(random.integers(len(paths)))]


def _actions(path: Path) -> Sequence[Damage]:
    return BY_SUFFIX.get(path.suffix.lower(), ())


def bit_flips(random: Rng, path: Path) -> str:
    """Flip one or several bits."""
    data = bytearray(path.read_bytes())
    count = 1 if random.random() < 0.7 else int(random.integers(2, 9))
    for _ in range(count if data else 0):
        data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
    path.write_bytes(data or b"\x80")
    return f"{count} bits flipped"


def _early_bit_flip(random: Rng, path: Path) -> str:
    data = bytearray(path.read_bytes())
    data[int(random.integers(min(len(data), 256)))] ^= 1 << int(random.integers(8))
    path.write_bytes(data)
    return "a bit of the first 256 bytes flipped"


def _noise(random: Rng, path: Path) -> str:
    data = bytearray(path.read_bytes())
    start = int(random.integers(len(data)))
    count = min(len(data) - start, int(random.integers(1, 200)))
    data[start : start + count] = random.bytes(count)
    path.write_bytes(data)
    return f"{count} bytes of noise at {start}"


def _truncate(random: Rng, path: Path) -> str:
    size = int(random.integers(path.stat().st_size))
    os.truncate(path, size)
    return f"truncated to {size} bytes"


def _empty(random: Rng, path: Path) -> str:
    os.truncate(path, 0)
    return "emptied"


def _delete(random: Rng, path: Path) -> str:
    path.unlink()
    return "deleted"


def _append(random: Rng, path: Path) -> str:
    with path.open("ab") as file:
        file.write(random.bytes(int(random.integers(1, 100))))
    return "bytes appended"


def _sparse(random: Rng, path: Path) -> str:
    os.truncate(path, SPARSE_BYTES)
    return f"grown to {SPARSE_BYTES} bytes"


def _folder(random: Rng, path: Path) -> str:
    path.unlink()
    path.mkdir()
    return "replaced by a folder"


def _parent_as_file(random: Rng, path: Path) -> str:
    shutil.rmtree(path.parent)
    path.parent.write_text("a file")
    return "its folder replaced by a file"


def _fifo(random: Rng, path: Path) -> str:
    path.unlink()
    os.mkfifo(path)
    return "replaced by a FIFO"


def _link(target: str) -> Damage:
    def link(random: Rng, path: Path) -> str:
        path.unlink()
        path.symlink_to(target or path.name)
        return f"replaced by a link to {target or 'itself'}"

    return link


def _unreadable(random: Rng, path: Path) -> str:
    path.chmod(0)
    return "made unreadable"


def _unreadable_folder(random: Rng, path: Path) -> str:
    path.parent.chmod(0)
    return "its folder made unreadable"


def _swap(random: Rng, path: Path) -> str:
    """Replace the file by another file of the tree."""
    others = sorted(other for other in path.parent.parent.rglob("*") if other.is_file() and other != path)
    path.write_bytes(others[int(random.integers(len(others)))].read_bytes())
    return "replaced by another file of the tree"


def _copy(random: Rng, path: Path) -> str:
    """Add a file of the same kind, so that counts are wrong."""
    name = re.sub(r"\d+", lambda match: f"{int(match[0]) + 7:0{len(match[0])}d}", path.name)
    name = ("../../x" if name == path.name and random.random() < 0.2 else "") or name
    copy = path.with_name(name if name != path.name and "/" not in name else f"copy-{path.name}")
    shutil.copy(path, copy)
    return f"copied to {copy.name}"


def _hostile_name(random: Rng, path: Path) -> str:
    names = [name for name in HOSTILE_NAMES if name.strip(" .") and "/" not in name and len(name) < 200]
    path.rename(path.with_name(names[int(random.integers(len(names)))] + path.suffix))
    return "renamed with control characters"


def _line(change: Callable[[Rng, list[str], int], str]) -> Damage:
    def damaged(random: Rng, path: Path) -> str:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        number = int(random.integers(len(lines)))
        done = change(random, lines, number)
        path.write_text("".join(lines), encoding="utf-8")
        return f"line {number + 1} {done}"

    return damaged


def _line_deleted(random: Rng, lines: list[str], number: int) -> str:
    del lines[number]
    return "deleted"


def _line_doubled(random: Rng, lines: list[str], number: int) -> str:
    lines.insert(number, lines[number])
    return "doubled"


def _word_replaced(random: Rng, lines: list[str], number: int) -> str:
    words = lines[number].split(" ")
    word = WORDS[int(random.integers(len(WORDS)))]
    words[int(random.integers(len(words)))] = word
    lines[number] = " ".join(words).rstrip("\n") + "\n"
    return f"has {word!r} in the place of a word"


def _bytes_inserted(inserted: bytes, name: str) -> Damage:
    def insert(random: Rng, path: Path) -> str:
        data = path.read_bytes()
        at = int(random.integers(len(data)))
        path.write_bytes(data[:at] + inserted + data[at:])
        return f"{name} at {at}"

    return insert


def _utf16(random: Rng, path: Path) -> str:
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-16")
    return "in UTF-16"


GENERIC: tuple[Damage, ...] = (
    bit_flips, bit_flips, _early_bit_flip, _noise, _truncate, _truncate, _empty, _delete, _append, _sparse, _folder,
    _parent_as_file, _fifo, _link(""), _link("/dev/zero"), _link("missing"), _unreadable, _unreadable_folder, _swap,
    _copy,
    _hostile_name,
)  # fmt: skip
TEXT: tuple[Damage, ...] = (
    _line(_line_deleted), _line(_line_doubled), _line(_word_replaced), _line(_word_replaced), _line(_word_replaced),
    _bytes_inserted(b"\0", "NUL"), _bytes_inserted(b"\xff\xfe", "invalid UTF-8"), _bytes_inserted(b"\x1b]0;x\x07",
    "control"),
    _utf16,
)  # fmt: skip
TREE: tuple[Damage, ...] = (*[damage_tree] * 12, *TEXT)

BY_SUFFIX: Mapping[str, Sequence[Damage]] = {
    **dict.fromkeys((".txt", ".tsv", ".csv", ".log"), TEXT),
    **dict.fromkeys((".json", ".yaml", ".yml", ".jsonl"), TREE),
    **dict.fromkeys((".png", ".jpg", ".jpeg"), IMAGE),
    **dict.fromkeys((".npy", ".npz"), ARRAY),
    **dict.fromkeys((".bin", ".label"), POINTS),
    ".ply": PLY,
    ".sens": SENS,
    ".safetensors": SAFETENSORS,
    ".pt": TORCH,
}
