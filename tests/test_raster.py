from __future__ import annotations

import hashlib
import os
import pickle
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from labelfree import Frame
from labelfree.errors import InputError
from labelfree.files.decoding import MAX_PIXELS, decode_colours, picture_size
from labelfree.raster import ArrayFile, ImageFile, MapFile

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
GREY = np.random.default_rng(1).random((20, 30)).astype(np.float32)
SHADES = (GREY * 65535).astype(np.uint16)
PALETTE = RGB.quantize(16)


def grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.repeat(np.rint(values).astype(np.uint8)[..., None], 3, axis=2)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def plain(image: Image.Image) -> NDArray[np.uint8]:
    return np.array(image.convert("RGB"))


STORED: dict[str, tuple[Image.Image, dict[str, Any], NDArray[np.uint8]]] = {
    "palette.png": (PALETTE, {}, plain(PALETTE)),
    "palette-one-clear.png": (PALETTE, {"transparency": 3}, plain(PALETTE)),
    "palette-veiled.png": (PALETTE, {"transparency": bytes(range(16))}, plain(PALETTE)),
    "palette.gif": (PALETTE, {}, plain(PALETTE)),
    "moving.gif": (PALETTE, {"save_all": True, "append_images": [Image.new("RGB", (30, 20))]}, plain(PALETTE)),
    "rgb.png": (RGB, {}, np.array(RGB)),
    "rgba.png": (RGB.convert("RGBA"), {}, np.array(RGB)),
    "grey.png": (RGB.convert("L"), {}, plain(RGB.convert("L"))),
    "grey-alpha.png": (RGB.convert("LA"), {}, plain(RGB.convert("LA"))),
    "bits.png": (RGB.convert("1"), {}, plain(RGB.convert("1"))),
    "cmyk.tif": (RGB.convert("CMYK"), {}, plain(RGB.convert("CMYK"))),
    "16-bit.png": (Image.fromarray(SHADES), {}, grey(SHADES / 257)),
    "16-bit-big-endian.tif": (Image.fromarray(SHADES.astype(">u2")), {}, grey(SHADES / 257)),
    "16-bit.pgm": (Image.fromarray(SHADES.astype(np.int32)), {}, grey(SHADES / 257)),
    "32-bit.tif": (Image.fromarray(SHADES.astype(np.int32)), {}, grey(SHADES / 257)),
    "32-bit-dark.tif": (Image.fromarray((SHADES // 257).astype(np.int32)), {}, grey(SHADES // 257)),
    "float.tif": (Image.fromarray(GREY), {}, grey(GREY * 255)),
    "float-255.tif": (Image.fromarray(GREY * 200), {}, grey(GREY * 200)),
}


@pytest.mark.parametrize("name", STORED)
def test_every_format_is_rgb(tmp_path: Path, name: str) -> None:
    image, options, expected = STORED[name]
    image.save(tmp_path / name, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Frame("0", ImageFile(tmp_path / name), np.eye(3), np.eye(4), (20, 30)).load_image()
    np.testing.assert_array_equal(found, expected)
    assert picture_size(tmp_path / name) == (20, 30)


@pytest.mark.parametrize("image", [RGB.convert("CMYK"), RGB.convert("YCbCr"), RGB.convert("L")])
def test_jpeg_of_any_colour_space(tmp_path: Path, image: Image.Image) -> None:
    path = tmp_path / "x.jpg"
    image.save(path)
    with Image.open(path) as stored:
        np.testing.assert_array_equal(ImageFile(path).load(), plain(stored))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_colours_and_maps(tmp_path: Path, orientation: int, suffix: str) -> None:
    path, depth = tmp_path / f"x.{suffix}", tmp_path / "depth.png"
    RGB.save(path, exif=turned(orientation))
    with Image.open(path) as stored:
        expected = plain(ImageOps.exif_transpose(stored))
    np.testing.assert_array_equal(ImageFile(path).load(), expected)
    assert picture_size(path) == expected.shape[:2]
    Image.fromarray(SHADES).save(depth, exif=turned(orientation))
    np.testing.assert_array_equal(MapFile(depth).load(), turn(SHADES, orientation))


def turn(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    image = Image.fromarray(values)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(image))


def test_orientation_after_the_pixels_of_a_png(tmp_path: Path) -> None:
    path = tmp_path / "late.png"
    RGB.save(path, exif=turned(6))
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    chunk = data[start : start + struct.unpack(">I", data[start : start + 4])[0] + 12]
    data = data.replace(chunk, b"")
    path.write_bytes(data[:-12] + chunk + data[-12:])
    assert picture_size(path) == ImageFile(path).load().shape[:2] == (30, 20)


def test_a_damaged_exif_block_does_not_matter(tmp_path: Path) -> None:
    RGB.save(tmp_path / "x.png", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    np.testing.assert_array_equal(ImageFile(tmp_path / "x.png").load(), np.array(RGB))


def test_maps_keep_what_is_stored(tmp_path: Path) -> None:
    for name, image, expected in (
        ("voc.png", PALETTE, np.array(PALETTE)),
        ("labels.png", RGB.convert("L"), np.array(RGB.convert("L"))),
        ("bits.png", RGB.convert("1"), np.array(RGB.convert("1")).astype(np.uint8)),
        ("ids.png", Image.fromarray(SHADES), SHADES),
        ("depth.tif", Image.fromarray(GREY), GREY),
    ):
        image.save(tmp_path / name)
        np.testing.assert_array_equal(MapFile(tmp_path / name).load(), expected)
    frame = Frame(
        "0", ImageFile(tmp_path / "voc.png"), np.eye(3), np.eye(4), (20, 30), depth=ImageFile(tmp_path / "ids.png"),
        depth_scale=1, labels=ImageFile(tmp_path / "voc.png"),
    )  # fmt: skip
    np.testing.assert_array_equal(frame.load_labels(), np.array(PALETTE))
    np.testing.assert_array_equal(frame.load_depth_m(), SHADES)
    np.testing.assert_array_equal(frame.load_image(), plain(PALETTE))


def test_only_files_that_are_read_differently_have_another_digest(tmp_path: Path) -> None:
    """What an earlier version cached for wrongly decoded images is not used again."""
    for name, image, exif, changed in (
        ("rgb.png", RGB, None, (False, False)),
        ("rgb.jpg", RGB, turned(1), (False, False)),
        ("grey.png", RGB.convert("L"), None, (False, False)),
        ("palette.png", PALETTE, None, (True, False)),
        ("turned.jpg", RGB, turned(6), (True, True)),
        ("turned.tif", RGB, turned(6), (False, False)),
    ):
        path = tmp_path / name
        options: dict[str, Any] = {} if exif is None else {"exif": exif}
        image.save(path, **options)
        plain_digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert (ImageFile(path).digest() != plain_digest, MapFile(path).digest() != plain_digest) == changed, name


def png_of(width: int, height: int, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = zlib.compress(bytes(3 * width + 1) * height if width * height < 1000 else b"")
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(extra)) if extra else b""
    return b"\x89PNG\r\n\x1a\n" + header + text + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def truncated(path: Path) -> None:
    RGB.save(path)
    path.write_bytes(path.read_bytes()[:-600])


def infinite(path: Path) -> None:
    Image.fromarray(np.full((4, 4), np.inf, np.float32)).save(path, format="TIFF")


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "missing"),
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("hello"), "no known image format"),
    "truncated": (truncated, "cannot be read as an image"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "pipe": (lambda path: os.mkfifo(path), "is a pipe or device"),
    "loop": (lambda path: path.symlink_to(path), "cannot be read"),
    "bomb": (lambda path: path.write_bytes(png_of(30000, 30000)), "has 900,000,000 pixels, at most 178,956,970"),
    "text bomb": (lambda path: path.write_bytes(png_of(4, 4, bytes(1 << 24))), "too large"),
    "not finite": (infinite, "not finite"),
    "postscript": (lambda path: Image.new("RGB", (4, 4)).save(path, format="EPS"), "PostScript"),
}


@pytest.mark.parametrize("kind", BAD)
def test_every_bad_file_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.png"
    make, message = BAD[kind]
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        ImageFile(path).load()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_limit_holds_where_a_program_has_lifted_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert MAX_PIXELS < 20000 * 20000
    with pytest.raises(InputError, match="400,000,000 pixels"):
        decode_colours(png_of(20000, 20000), "x.png")


def test_arrays_of_anything_but_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((2, 2)) * 1j)
    with pytest.raises(InputError, match="complex128"):
        ArrayFile(path).load()
    with path.open("wb") as file:
        np.savez(file, a=np.ones(3))
    archive = path.read_bytes()
    for content in (archive, b"\x93NUMPY\x01\x00\x08\x00{'a': (,\n", b"hello", pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as an array") as caught:
            ArrayFile(path).shape()
        assert "pickle" not in str(caught.value)
