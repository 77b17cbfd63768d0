"""Images and clouds of messages agree with slow twins that read byte by byte; damage is one sentence."""

from __future__ import annotations

import io
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from labelfree.data.bags.clouds import cloud_values
from labelfree.data.bags.pixels import COMPRESSED, Kind, colours_of, depth_mm, kind_of
from labelfree.errors import InputError

RAW = "sensor_msgs/msg/Image"
RNG = np.random.default_rng(0)
PLACES = {"rgb8": "rgb", "bgr8": "bgr", "rgba8": "rgba", "bgra8": "bgra", "8UC3": "bgr", "mono8": "g", "8UC1": "g"}
HEIGHT, WIDTH = 3, 5


def message(encoding: str, data: bytes, step: int, big: bool = False) -> Any:
    values = np.frombuffer(data, np.uint8)
    return SimpleNamespace(height=HEIGHT, width=WIDTH, encoding=encoding, is_bigendian=int(big), step=step, data=values)


def slow_colours(encoding: str, data: bytes, step: int) -> NDArray[np.uint8]:
    letters = PLACES[encoding]
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            for channel, letter in enumerate("rgb"):
                place = letters.index("g" if letters == "g" else letter)
                pixels[row, column, channel] = data[row * step + column * len(letters) + place]
    return pixels


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", PLACES)
def test_colours(encoding: str, padding: int) -> None:
    step = WIDTH * len(PLACES[encoding]) + padding
    data = RNG.integers(0, 256, HEIGHT * step, np.uint8).tobytes()
    found = colours_of(message(encoding, data, step), RAW, "bag")
    assert found.size == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(found.pixels, slow_colours(encoding, data, step))
    cut = colours_of(message(encoding, data[: len(data) - padding], step), RAW, "bag")  # the last row is not padded
    np.testing.assert_array_equal(cut.pixels, found.pixels)


def slow_depth(encoding: str, data: bytes, step: int, big: bool) -> NDArray[np.uint16]:
    kind, size = ("f", 4) if encoding == "32FC1" else ("H", 2)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint16)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            (value,) = struct.unpack_from(("><"[not big]) + kind, data, row * step + column * size)
            millimetres = value if kind == "H" else 0 if not np.isfinite(value) else round(value * 1000)
            pixels[row, column] = millimetres if 0 < millimetres < 65536 else 0
    return pixels


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16", "32FC1"])
def test_depth(encoding: str, big: bool) -> None:
    metres = np.array([0, np.nan, np.inf, -1, 70, 65.535, 0.0004, 1.2344, *RNG.uniform(0, 9, 7)])
    order = ">" if big else "<"
    values = metres.astype(f"{order}f4") if encoding == "32FC1" else RNG.integers(0, 65536, 15).astype(f"{order}u2")
    step = WIDTH * values.itemsize + 2
    rows = np.frombuffer(values.tobytes(), np.uint8).reshape(HEIGHT, -1)
    data = np.pad(rows, ((0, 0), (0, 2))).tobytes()
    found = depth_mm(message(encoding, data, step, big), RAW, "bag")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, slow_depth(encoding, data, step, big))


def packed(pixels: NDArray[Any], form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize(("form", "ending"), [("JPEG", ".jpg"), ("PNG", ".png"), ("BMP", ".png")])
def test_compressed_colours_stay_as_they_are(form: str, ending: str) -> None:
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    data = packed(pixels, form)
    content = SimpleNamespace(format=f"rgb8; {form.lower()} compressed bgr8", data=np.frombuffer(data, np.uint8))
    found = colours_of(content, COMPRESSED, "bag")
    assert (found.size, found.ending) == ((HEIGHT, WIDTH), ending)
    if form == "BMP":
        np.testing.assert_array_equal(found.pixels, pixels)
    else:
        assert found.data == data


def test_compressed_depth() -> None:
    values = RNG.integers(1, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
    data = packed(values, "PNG")
    for start in (b"", struct.pack("<iff", 0, 0, 0)):
        content = SimpleNamespace(format="16UC1; compressedDepth png", data=np.frombuffer(start + data, np.uint8))
        np.testing.assert_array_equal(depth_mm(content, COMPRESSED, "bag"), values)


def test_quantised_depth_comes_back_as_compressed_depth_transport_wrote_it() -> None:
    metres = RNG.uniform(0.5, 9, (HEIGHT, WIDTH))
    a = 100.0 * 101.0  # the transport's defaults: depth_quantization 100, depth_max 10
    b = 1 - a / 10.0
    stored = np.rint(a / metres + b).astype(np.uint16)
    stored[0, 0] = 0
    data = struct.pack("<iff", 1, a, b) + packed(stored, "PNG")
    content = SimpleNamespace(format="32FC1; compressedDepth png", data=np.frombuffer(data, np.uint8))
    found = depth_mm(content, COMPRESSED, "bag")
    assert found[0, 0] == 0
    np.testing.assert_allclose(found.ravel()[1:], metres.ravel()[1:] * 1000, atol=5)


@pytest.mark.parametrize(
    ("encoding", "kind"),
    [("bgr8", Kind.COLOUR), ("mono8", Kind.GREY), ("16UC1", Kind.DEPTH), ("32FC1", Kind.DEPTH), ("yuv422", Kind.OTHER)],
)
def test_kinds(encoding: str, kind: Kind) -> None:
    assert kind_of(SimpleNamespace(encoding=encoding), RAW) is kind


def test_damaged_images_are_one_sentence() -> None:
    with pytest.raises(InputError, match=r"bag: 44 bytes are no image of 5x3 pixels \('rgb8', 15 bytes a row\)"):
        colours_of(message("rgb8", bytes(44), 15), RAW, "bag")
    with pytest.raises(InputError, match="no image of 5x3"):
        depth_mm(message("16UC1", bytes(90), 9), RAW, "bag")
    with pytest.raises(InputError, match="encoding 'bayer_rggb8', read are rgb8"):
        colours_of(message("bayer_rggb8", bytes(45), 15), RAW, "bag")
    with pytest.raises(InputError, match="depth is 16UC1"):
        depth_mm(message("rgb8", bytes(45), 15), RAW, "bag")
    damaged = SimpleNamespace(format="jpeg", data=np.frombuffer(b"\xff\xd8\xffjunk", np.uint8))
    with pytest.raises(InputError, match="bag: cannot be read as an image"):
        colours_of(damaged, COMPRESSED, "bag")
    with pytest.raises(InputError, match="holds no PNG"):
        depth_mm(SimpleNamespace(format="16UC1; compressedDepth rvl", data=np.zeros(99, np.uint8)), COMPRESSED, "bag")


def cloud(fields: list[tuple[str, int, int]], data: bytes, step: int, size: tuple[int, int], **more: Any) -> Any:
    named = [SimpleNamespace(name=name, offset=offset, datatype=kind, count=1) for name, offset, kind in fields]
    row = more.pop("row_step", step * size[1])
    return SimpleNamespace(
        fields=named, data=np.frombuffer(data, np.uint8), point_step=step, row_step=row, height=size[0],
        width=size[1], is_bigendian=more.pop("big", False),
    )  # fmt: skip


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
def test_clouds(big: bool, padding: int) -> None:
    fields = [("intensity", 2, 4), ("z", 4, 8), ("x", 12, 7), ("y", 16, 7)]
    letters, step, size = {4: "H", 7: "f", 8: "d"}, 22, (2, 3)
    rows = RNG.normal(size=(6, 3)) * 10
    rows[2, 1] = np.nan
    data, order = bytearray(2 * (3 * step + padding)), "><"[not big]
    for number, (x, y, z) in enumerate(rows):
        start = number // 3 * (3 * step + padding) + number % 3 * step
        for (_, offset, kind), value in zip(fields, (number * 7, z, x, y)):
            struct.pack_into(order + letters[kind], data, start + offset, value)
    found = cloud_values(cloud(fields, bytes(data), step, size, row_step=3 * step + padding, big=big), "bag")
    expected = np.column_stack([rows, np.arange(6) * 7]).astype(np.float32)
    np.testing.assert_array_equal(found, expected[[0, 1, 3, 4, 5]])


def test_damaged_clouds_are_one_sentence() -> None:
    fields = [("x", 0, 7), ("y", 4, 7), ("z", 8, 7)]
    assert cloud_values(cloud(fields, bytes(24), 12, (1, 2)), "bag").tolist() == [[0, 0, 0, 0]] * 2
    with pytest.raises(InputError, match="has no field 'z'"):
        cloud_values(cloud(fields[:2], bytes(24), 12, (1, 2)), "bag")
    for damaged in (
        cloud(fields, bytes(23), 12, (1, 2)),
        cloud(fields, bytes(24), 11, (1, 2)),
        cloud([*fields[:2], ("z", 8, 99)], bytes(24), 12, (1, 2)),
        cloud(fields, bytes(24), 12, (0, 2)),
        cloud(fields, bytes(24), 12, (2, 2), row_step=3),
    ):
        with pytest.raises(InputError, match="bytes are no cloud of"):
            cloud_values(damaged, "bag")
