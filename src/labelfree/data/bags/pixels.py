"""Decode the images of bags: sensor_msgs/Image and CompressedImage, as colours or as depth in millimetres."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError, shown
from labelfree.files.decoding import MAX_PIXELS, decode_colours, decode_values

COLOUR_CHANNELS = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "rgba8": (0, 1, 2), "bgra8": (2, 1, 0), "8UC3": (2, 1, 0)}
"""Position of red, green and blue in a pixel; OpenCV's 8UC3 holds blue first."""
GREY, DEPTH_MM, DEPTH_M = ("mono8", "8UC1"), ("16UC1", "mono16"), ("32FC1",)
DEPTH_HEADER = struct.Struct("<iff")
"""Header of compressed_depth_image_transport: kind, and the two numbers that quantised metres."""
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
LARGEST_MM = 65535
COMPRESSED = "sensor_msgs/msg/CompressedImage"


class Kind(StrEnum):
    """What an image message holds."""

    COLOUR = "colour"
    GREY = "grey"
    DEPTH = "depth"
    OTHER = "other"


@dataclass(frozen=True, eq=False)
class Encoded:
    """An image as it is stored: a JPEG or PNG file that is kept as it is, or pixels."""

    pixels: NDArray[np.uint8] | None
    """[H, W, 3], or None for a file."""
    size: tuple[int, int]
    """(height, width)."""
    data: bytes = b""
    """The file's bytes."""
    ending: str = ".png"


def kind_of(message: Any, type_name: str) -> Kind:
    """Return what an image message holds, from its encoding or format alone."""
    if type_name == COMPRESSED:
        stated = str(message.format)
        return Kind.DEPTH if "compressedDepth" in stated or stated.split(";")[0] in DEPTH_MM else Kind.COLOUR
    encoding = message.encoding
    if encoding in COLOUR_CHANNELS:
        return Kind.COLOUR
    if encoding in GREY:
        return Kind.GREY
    return Kind.DEPTH if encoding in (*DEPTH_MM, *DEPTH_M) else Kind.OTHER


def colours_of(message: Any, type_name: str, where: str) -> Encoded:
    """Return the colours of an image message; JPEG and PNG stay as they are, after they were decoded once.

    Raises an `InputError` if the encoding is unknown or the message has too few bytes.
    """
    if type_name == COMPRESSED:
        data = bytes(message.data)
        pixels = decode_colours(data, where)
        for start, ending in ((JPEG, ".jpg"), (PNG, ".png")):
            if data.startswith(start):
                return Encoded(None, pixels.shape[:2], data, ending)
        return Encoded(pixels, pixels.shape[:2])
    encoding = message.encoding
    if encoding in GREY:
        grey = _rows(message, 1, np.dtype(np.uint8), where)
        return Encoded(np.repeat(grey, 3, axis=2), grey.shape[:2])
    if encoding not in COLOUR_CHANNELS:
        known = ", ".join((*COLOUR_CHANNELS, *GREY))
        raise InputError(f"{where}: has the encoding {shown(encoding)}, read are {known}; convert it with image_proc.")
    channels = 4 if "a" in encoding else 3
    pixels = _rows(message, channels, np.dtype(np.uint8), where)[:, :, list(COLOUR_CHANNELS[encoding])]
    return Encoded(pixels, pixels.shape[:2])


def depth_mm(message: Any, type_name: str, where: str) -> NDArray[np.uint16]:  # [H, W]
    """Return the depth of an image message in millimetres, 0 where missing or beyond 65.535 m.

    Raises an `InputError` if the encoding is unknown or the message has too few bytes.
    """
    if type_name == COMPRESSED:
        return _compressed_depth(message, where)
    order = ">" if message.is_bigendian else "<"
    if message.encoding in DEPTH_MM:
        return _rows(message, 1, np.dtype(f"{order}u2"), where)[:, :, 0].astype(np.uint16)
    if message.encoding in DEPTH_M:
        return _millimetres(_rows(message, 1, np.dtype(f"{order}f4"), where)[:, :, 0])
    raise InputError(
        f"{where}: has the encoding {shown(message.encoding)}, but depth is 16UC1 (millimetres) or 32FC1 (metres); "
        "give another --depth-topic."
    )


def _rows(message: Any, channels: int, dtype: np.dtype[Any], where: str) -> NDArray[Any]:  # [H, W, channels]
    """Return the pixels without the bytes that pad each row."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    used = width * channels * dtype.itemsize
    data = np.asarray(message.data, dtype=np.uint8)
    if not 0 < height * width <= MAX_PIXELS or step < used or len(data) < step * (height - 1) + used:
        raise InputError(
            f"{where}: {len(data)} bytes are no image of {width}x{height} pixels ({shown(message.encoding)}, {step} "
            "bytes a row); the bag is damaged: record or copy it again."
        )
    if len(data) < step * height:  # the last row is not padded
        data = np.concatenate([data, np.zeros(step * height - len(data), np.uint8)])
    rows = np.ascontiguousarray(data[: step * height].reshape(height, step)[:, :used])
    return rows.view(dtype).reshape(height, width, channels)


def _millimetres(depth_m: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    with np.errstate(over="ignore", invalid="ignore"):
        millimetres = np.rint(depth_m.astype(np.float64) * 1000)
        valid = (millimetres > 0) & (millimetres <= LARGEST_MM)  # false for NaN
    return np.where(valid, millimetres, 0).astype(np.uint16)


def _compressed_depth(message: Any, where: str) -> NDArray[np.uint16]:
    """Return the depth of a PNG of 16 bits, with or without the header of compressed_depth_image_transport."""
    data = bytes(message.data)
    a, b, packed = 0.0, 0.0, data
    if not data.startswith(PNG) and len(data) > DEPTH_HEADER.size:
        _, a, b = DEPTH_HEADER.unpack_from(data)
        packed = data[DEPTH_HEADER.size :]
    if not packed.startswith(PNG):
        raise InputError(f"{where}: its format {shown(message.format)} holds no PNG; record the topic as 16UC1.")
    values = decode_values(packed, where)
    if values.ndim != 2 or values.dtype.itemsize < 2:
        raise InputError(f"{where}: is an image of {values.dtype} {list(values.shape)}, not a depth map of 16 bits.")
    if not str(message.format).startswith("32FC1"):
        return values.astype(np.uint16)
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.where(values > 0, a / (values.astype(np.float64) - b), 0)  # stored is the quantised inverse depth
    return _millimetres(metres)
