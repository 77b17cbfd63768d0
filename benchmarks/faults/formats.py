"""Damage specific to one format: PLY counts, .sens bombs, pickles, tensor headers, NaN in arrays."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.faults.images import BOMB_BLOCK, zeros

Rng = np.random.Generator
Damage = Callable[[Rng, Path], str]

BOMB_BLOCKS = 384
"""Number of blocks: 6 GiB of zeros, 6 MB compressed."""
PICKLE = b"cos\nmkdir\n(Vowned\ntR."
"""A pickle that creates the folder `owned` when loaded."""
EXTREMES = (np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, 0.0)
COUNTS = (2_000_000_000, 4_000_000_000, -1, 0, 10**18, 7, "x")


def _ply_count(random: Rng, path: Path) -> str:
    data = path.read_bytes()
    counts = list(re.finditer(rb"element (vertex|face) (\S+)", data))
    found = counts[int(random.integers(len(counts)))]
    count = str(COUNTS[int(random.integers(len(COUNTS)))])
    path.write_bytes(data[: found.start(2)] + count.encode() + data[found.end(2) :])
    return f"declares {count} of element {found[1].decode()}"


def _ply_ascii(random: Rng, path: Path) -> str:
    """Write a small ASCII cloud that declares 2e9 faces."""
    points = "\n".join(" ".join(f"{value:.3f}" for value in row) for row in random.random((20, 3)))
    header = "ply\nformat ascii 1.0\nelement vertex 20\nproperty float x\nproperty float y\nproperty float z\n"
    faces = "element face 2000000000\nproperty list uchar int vertex_indices\n"
    path.write_text(f"{header}{faces}end_header\n{points}\n3 0 1 2\n")
    return "an ASCII cloud that declares 2e9 faces"


def _ply_header(random: Rng, path: Path) -> str:
    data = path.read_bytes()
    end = data.index(b"end_header")
    lines = data[:end].split(b"\n")
    at = int(random.integers(len(lines) - 1))
    new = (b"", b"property list uchar int x", b"property double x", b"format ascii 1.0",
    b"format binary_big_endian 1.0",
           b"comment \x1b[2J", b"property quux y", b"element vertex")  # fmt: skip
    lines[at] = new[int(random.integers(len(new)))]
    path.write_bytes(b"\n".join(lines) + data[end:])
    return f"header line {at + 1} = {lines[at]!r}"


def _floats(offset: Callable[[bytes], int]) -> Damage:
    def damaged(random: Rng, path: Path) -> str:
        data = bytearray(path.read_bytes())
        start = offset(bytes(data))
        value = float(EXTREMES[int(random.integers(len(EXTREMES)))])
        places = (len(data) - start) // 4
        count = 1 if random.random() < 0.5 else max(1, places // 3)
        for at in random.choice(places, count, replace=False):
            data[start + 4 * at : start + 4 * at + 4] = struct.pack("<f", value)
        path.write_bytes(data)
        return f"{count} numbers = {value}"

    return damaged


def _sens_bomb(random: Rng, path: Path) -> str:
    """Replace the first depth map by 6 GiB of zeros."""
    data = path.read_bytes()
    start = data.index(b"\xff\xd8\xff") - 16  # sizes of the first colour image
    colour, depth = struct.unpack_from("<QQ", data, start)
    bomb = zeros(BOMB_BLOCK * BOMB_BLOCKS)
    after = start + 16 + colour
    sizes = struct.pack("<QQ", colour, len(bomb))
    path.write_bytes(data[:start] + sizes + data[start + 16 : after] + bomb + data[after + depth :])
    return "a depth map that inflates to 6 GiB"


def _sens_numbers(random: Rng, path: Path) -> str:
    """Change a count of the header or of a frame."""
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\xd8\xff") - 16
    at = int(random.choice([4, start - 8 - 16 - 64, start, start + 8]))
    struct.pack_into("<Q", data, at, int(random.choice([0, 1, 2**31, 2**40, 2**63 - 1])))
    path.write_bytes(data)
    return f"a count at byte {at} changed"


def _npy_pickle(random: Rng, path: Path) -> str:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    _put_array(path, buffer.getvalue() + PICKLE)
    return "an array of objects"


def _npy_shape(random: Rng, path: Path) -> str:
    shape = ((10**9, 10**3), (0,), (2**62, 4), (1,), (-1, 3), ())[int(random.integers(6))]
    kind = ("<f4", "<f8", "|b1", "<U9", "<c16", ">i8")[int(random.integers(6))]
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    _put_array(path, buffer.getvalue() + bytes(64))
    return f"an array of shape {shape} and kind {kind}"


def _put_array(path: Path, data: bytes) -> None:
    """Write an array; in an archive, replace every member by it."""
    if path.suffix != ".npz":
        path.write_bytes(data)
        return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, data)


def _tensor_header(random: Rng, path: Path) -> str:
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    name = names[int(random.integers(len(names)))]
    field, value = (("dtype", "F64"), ("dtype", "X9"), ("shape", [10**12]), ("shape", []), ("data_offsets", [0, 2**60]),
                    ("data_offsets", [8, 4]), ("shape", "x"))[int(random.integers(7))]  # fmt: skip
    header[name][field] = value
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    return f"{field} of {name} = {value}"


def _tensor_size(random: Rng, path: Path) -> str:
    size = int(random.choice([0, 1, 2**31, 2**62]))
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    return f"declares a header of {size} bytes"


def _tensor_lost(random: Rng, path: Path) -> str:
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    name = names[int(random.integers(len(names)))]
    header[f"{name}.renamed"] = header.pop(name)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    return f"tensor {name} renamed"


def _pickled(random: Rng, path: Path) -> str:
    """Replace a torch file by a pickle that runs a command, plain or in the archive format of torch."""
    if random.random() < 0.5:
        path.write_bytes(PICKLE)
        return "replaced by a pickle"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, PICKLE if name.endswith(".pkl") else data)
    return "its pickle replaced"


def _member_flipped(random: Rng, path: Path) -> str:
    """Flip a bit of one tensor and update the checksums of the archive, as an error in memory would."""
    with zipfile.ZipFile(path) as archive:
        members = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    names = [name for name in members if "/data/" in name and members[name]]
    data = members[names[int(random.integers(len(names)))]]
    data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(content))
    return "a bit of a tensor flipped, checksums of the archive adapted"


def _ply_offset(data: bytes) -> int:
    return data.index(b"end_header\n") + 11


def _tensor_offset(data: bytes) -> int:
    return 8 + int(struct.unpack_from("<Q", data)[0])


PLY: tuple[Damage, ...] = (_ply_count, _ply_count, _ply_ascii, _ply_header, _ply_header, _floats(_ply_offset))
POINTS: tuple[Damage, ...] = (_floats(lambda data: 0),)
SENS: tuple[Damage, ...] = (_sens_bomb, _sens_numbers, _sens_numbers)
ARRAY: tuple[Damage, ...] = (_npy_pickle, _npy_shape, _npy_shape)
SAFETENSORS: tuple[Damage, ...] = (_tensor_header, _tensor_size, _tensor_lost, _floats(_tensor_offset))
TORCH: tuple[Damage, ...] = (_pickled, _member_flipped, _member_flipped)
