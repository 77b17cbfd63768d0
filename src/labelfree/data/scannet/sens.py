"""Read and write ScanNet's `.sens`: images, depth maps and poses of a scan in one file, read frame by frame.

Format: SensReader of the ScanNet repository, version 4. Numbers are little-endian.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labelfree.data.integrity import check_bytes
from labelfree.errors import InputError
from labelfree.files.atomic import atomic_file
from labelfree.files.decoding import decode_colours
from labelfree.files.documents import open_file

VERSION = 4
JPEG, PNG = 2, 1
ZLIB_USHORT, RAW_USHORT = 1, 0
POSE_BYTES, TIMES_BYTES, SIZES = 64, 16, struct.Struct("<QQ")
AFTER_NAME = struct.Struct("<64f2i4If")
LONGEST_NAME = 4096
SMALLEST_FRAME = POSE_BYTES + TIMES_BYTES + SIZES.size
LARGEST_IMAGE = 1 << 26
"""Largest number of pixels of an image or depth map; ScanNet's have 1.3 million."""
LARGEST_MEMBER = 1 << 28
"""Largest size in bytes of a compressed image or depth map."""
DOWNLOAD = "download the scan again"


@dataclass(frozen=True, eq=False)
class SensFrame:
    """The position of one frame in the file."""

    camera_to_world: NDArray[np.float64]  # [4, 4]; -inf where tracking was lost
    colour: tuple[int, int]  # offset, bytes
    depth: tuple[int, int]


@dataclass(frozen=True, eq=False)
class SensFile:
    """The header of a file and the positions of its frames; images stay on disk."""

    path: Path
    intrinsics_colour: NDArray[np.float64]  # [3, 3]
    intrinsics_depth: NDArray[np.float64]  # [3, 3]
    colour_size: tuple[int, int]  # height, width
    depth_size: tuple[int, int]
    depth_scale: float
    """Stored depth units per metre."""
    frames: tuple[SensFrame, ...]
    depth_kind: int = ZLIB_USHORT

    def colour(self, index: int) -> SensPicture:
        """Return a frame's image without reading it."""
        return SensPicture(self.path, index, *self.frames[index].colour)

    def depth(self, index: int) -> SensDepth:
        """Return a frame's depth map without reading it."""
        return SensDepth(self.path, index, *self.frames[index].depth, self.depth_size, self.depth_kind)


def open_sens_header(path: Path) -> SensFile:
    """Read only the header; the result has no frames."""
    return open_sens(path, with_frames=False)


def open_sens(path: Path, with_frames: bool = True) -> SensFile:
    """Read the header and the positions of all frames.

    Raises an `InputError` if the file is no `.sens` file of version 4 or is truncated; the message names the frame.
    """
    with open_file(path, DOWNLOAD) as file:
        size = os.fstat(file.fileno()).st_size
        # Read the header
        version, name_length = struct.unpack("<IQ", _read(file, 12, path, "its header"))
        if version != VERSION or name_length > LONGEST_NAME:
            raise InputError(f"{path}: is not a .sens file of version {VERSION} (found {version}); download it again.")
        _read(file, name_length, path, "its header")
        values = AFTER_NAME.unpack(_read(file, AFTER_NAME.size, path, "its header"))
        (count,) = struct.unpack("<Q", _read(file, 8, path, "its header"))
        matrices = np.array(values[:64], dtype=np.float64).reshape(4, 4, 4)
        colour_kind, depth_kind, width, height, depth_width, depth_height, shift = values[64:]
        # Check the header
        if colour_kind not in (JPEG, PNG) or depth_kind not in (ZLIB_USHORT, RAW_USHORT):
            raise InputError(
                f"{path}: compresses colours as {colour_kind} and depth as {depth_kind}, unlike ScanNet; {DOWNLOAD}."
            )
        for rows, columns in ((height, width), (depth_height, depth_width)):
            if not 0 < rows * columns <= LARGEST_IMAGE:
                raise InputError(f"{path}: states images of {columns}x{rows} pixels; {DOWNLOAD}.")
        if not 0 < shift < math.inf:
            raise InputError(f"{path}: states {shift} depth units per metre, expected a positive number; {DOWNLOAD}.")
        if count * SMALLEST_FRAME > size:
            raise InputError(f"{path}: states {count} frames, too many for its {size} bytes; {DOWNLOAD}.")
        # Find the frames
        frames = tuple(_frame(file, path, index, count, size) for index in range(count if with_frames else 0))
    return SensFile(
        path,
        matrices[0, :3, :3],
        matrices[2, :3, :3],
        (height, width),
        (depth_height, depth_width),
        float(shift),
        frames,
        depth_kind,
    )


def _frame(file: BinaryIO, path: Path, index: int, count: int, size: int) -> SensFrame:
    what = f"frame {index} of {count}"
    pose = np.frombuffer(_read(file, POSE_BYTES, path, what), dtype="<f4").reshape(4, 4).astype(np.float64)
    _read(file, TIMES_BYTES, path, what)
    colour, depth = SIZES.unpack(_read(file, SIZES.size, path, what))
    start = file.tell()
    if max(colour, depth) > LARGEST_MEMBER:
        raise InputError(f"{path}: {what} states {max(colour, depth)} bytes for an image; {DOWNLOAD}.")
    if start + colour + depth > size:
        raise InputError(f"{path}: ends inside {what}, after {size} bytes; download the scan again.")
    file.seek(start + colour + depth)
    return SensFrame(pose, (start, colour), (start + colour, depth))


def _read(file: BinaryIO, count: int, path: Path, what: str) -> bytes:
    found = file.read(count)
    if len(found) < count:
        raise InputError(f"{path}: ends inside {what}, after {file.tell()} bytes; {DOWNLOAD}.")
    return found


@dataclass(frozen=True)
class SensPicture:
    """One image in a `.sens` file."""

    path: Path
    index: int
    offset: int
    length: int

    def load(self) -> NDArray[Any]:
        """Return the image, uint8 [H, W, 3]."""
        return decode_colours(_bytes(self.path, self.offset, self.length), self.describe())

    def check(self, thorough: bool) -> None:
        """Raise an `InputError` if the compressed image is truncated or damaged."""
        check_bytes(_bytes(self.path, self.offset, self.length), self.describe(), thorough, DOWNLOAD)

    def digest(self) -> str:
        """Return the SHA-256 of the compressed bytes."""
        return hashlib.sha256(_bytes(self.path, self.offset, self.length)).hexdigest()

    def describe(self) -> str:
        """Return the file and the frame's number."""
        return f"{self.path}, frame {self.index}"


@dataclass(frozen=True)
class SensDepth:
    """One depth map in a `.sens` file."""

    path: Path
    index: int
    offset: int
    length: int
    size: tuple[int, int]
    kind: int

    def load(self) -> NDArray[Any]:
        """Return the depth map in stored units, uint16 [H, W], 0 = missing."""
        packed = _bytes(self.path, self.offset, self.length)
        expected = 2 * self.size[0] * self.size[1]
        try:
            raw = _inflated(packed, expected) if self.kind == ZLIB_USHORT else packed
        except zlib.error as error:
            raise InputError(f"{self.describe()}: its depth cannot be unpacked; download the scan again.") from error
        if len(raw) != expected:
            raise InputError(
                f"{self.describe()}: its depth cannot be unpacked to the {expected} bytes of {self.size[1]}x"
                f"{self.size[0]} pixels; {DOWNLOAD}."
            )
        return np.frombuffer(raw, dtype="<u2").reshape(self.size)

    def check(self, thorough: bool) -> None:
        """Raise an `InputError` if the depth map is empty or, with `thorough`, cannot be decompressed."""
        if not self.length:
            raise InputError(f"{self.describe()}: is empty (0 bytes); {DOWNLOAD}.")
        if thorough:
            self.load()

    def digest(self) -> str:
        """Return the SHA-256 of the compressed bytes."""
        return hashlib.sha256(_bytes(self.path, self.offset, self.length)).hexdigest()

    def describe(self) -> str:
        """Return the file and the frame's number."""
        return f"{self.path}, depth of frame {self.index}"


def _inflated(packed: bytes, expected: int) -> bytes:
    """Decompress at most one byte more than expected; a longer or truncated stream gives another length."""
    stream = zlib.decompressobj()
    raw = stream.decompress(packed, expected + 1)
    return raw if stream.eof else b""


def _bytes(path: Path, offset: int, length: int) -> bytes:
    with open_file(path) as file:
        file.seek(offset)
        return file.read(length)


def write_sens(
    path: Path,
    images: Sequence[NDArray[np.uint8]],  # F x [H, W, 3]
    depths_mm: Sequence[NDArray[np.uint16]],  # F x [h, w]
    camera_to_world: Sequence[NDArray[np.float64]],  # F x [4, 4]
    intrinsics_colour: NDArray[np.float64],  # [3, 3]
    intrinsics_depth: NDArray[np.float64],  # [3, 3]
) -> None:
    """Write a scan in the format of ScanNet's recorder: JPEG colours, zlib-compressed 16-bit depth in millimetres."""
    name = b"StructureSensor"
    matrices = [_four(intrinsics_colour), np.eye(4), _four(intrinsics_depth), np.eye(4)]
    height, width = images[0].shape[:2]
    depth_height, depth_width = depths_mm[0].shape
    with atomic_file(path) as file:
        file.write(struct.pack("<IQ", VERSION, len(name)) + name)
        numbers = [float(value) for matrix in matrices for value in matrix.ravel()]
        file.write(AFTER_NAME.pack(*numbers, JPEG, ZLIB_USHORT, width, height, depth_width, depth_height, 1000.0))
        file.write(struct.pack("<Q", len(images)))
        for index, (image, depth, pose) in enumerate(zip(images, depths_mm, camera_to_world)):
            packed = io.BytesIO()
            Image.fromarray(image).save(packed, format="JPEG", quality=92)
            colour, deflated = packed.getvalue(), zlib.compress(np.ascontiguousarray(depth, "<u2").tobytes())
            file.write(pose.astype("<f4").tobytes() + struct.pack("<QQ", index * 33_333, index * 33_333))
            file.write(SIZES.pack(len(colour), len(deflated)) + colour + deflated)
        file.write(struct.pack("<Q", 0))  # number of inertial measurements


def _four(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    four = np.eye(4)
    four[:3, :3] = matrix
    return four
