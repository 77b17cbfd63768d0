from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.lzf import lzf_compress
from labelfree.data.lzf import lzf_decompress
from labelfree.data.pcd import read_pcd, write_pcd
from labelfree.data.point_cloud import PointCloud
from labelfree.errors import InputError

UTM = (456789.123, 5432100.456, 312.0)
FIELDS = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<f4"), ("intensity", "<f4"), ("label", "<u4")]


def table() -> NDArray[np.void]:
    """Points as PCL stores them: colours packed into a float."""
    rows = np.zeros(200, FIELDS)
    random = np.random.default_rng(0)
    for axis in "xyz":
        rows[axis] = random.normal(size=200).round(2)
    rows["rgb"] = (random.integers(0, 1 << 24, 200, dtype=np.uint32) | 1 << 23).view(np.float32)
    rows["intensity"] = np.arange(200) % 7
    rows["label"] = np.arange(200) % 5
    rows["label"][3] = 255
    return rows


def header(rows: NDArray[np.void], data: str, **changed: str) -> bytes:
    names = rows.dtype.names or ()
    kinds = [rows.dtype[name] for name in names]
    lines = {
        "VERSION": "0.7",
        "FIELDS": " ".join(names),
        "SIZE": " ".join(str(kind.itemsize) for kind in kinds),
        "TYPE": " ".join(kind.kind.upper() for kind in kinds),
        "COUNT": " ".join("1" for _ in names),
        "WIDTH": str(len(rows)),
        "HEIGHT": "1",
        "VIEWPOINT": "0 0 0 1 0 0 0",
        "POINTS": str(len(rows)),
        "DATA": data,
    } | changed
    return ("# .PCD v0.7\n" + "".join(f"{key} {value}\n" for key, value in lines.items() if value)).encode()


def body(rows: NDArray[np.void], data: str) -> bytes:
    if data == "ascii":
        return "".join(" ".join(repr(value.item()) for value in row) + "\n" for row in rows).encode()
    if data == "binary":
        return rows.tobytes()
    columns = b"".join(np.ascontiguousarray(rows[name]).tobytes() for name in rows.dtype.names or ())
    packed = lzf_compress(columns)
    return np.array([len(packed), len(columns)], "<u4").tobytes() + packed


KINDS = ("ascii", "binary", "binary_compressed")


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("data", KINDS)
def test_reads_every_kind(tmp_path: Path, data: str) -> None:
    rows = table()
    cloud = read_pcd(write(tmp_path / "c.pcd", header(rows, data) + body(rows, data)))
    np.testing.assert_array_equal(cloud.points, np.stack([rows[axis] for axis in "xyz"], axis=1))
    assert cloud.points.dtype == np.float32
    bits = rows["rgb"].view(np.uint32)
    np.testing.assert_array_equal(cloud.colours, np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=1))
    np.testing.assert_array_equal(cloud.intensity, rows["intensity"])
    np.testing.assert_array_equal(cloud.labels, rows["label"])
    assert read_pcd(tmp_path / "c.pcd", labels=False).labels is None


def test_organised_clouds_padding_and_windows_line_ends(tmp_path: Path) -> None:
    kinds: list[Any] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("_", "u1", 4), ("rgba", "<u4"), ("h", "<f4", 3)]
    rows = np.zeros(6, kinds)
    rows["x"], rows["rgba"] = [0, 1, np.nan, 3, 4, 5], 0xFF010203
    head = header(np.zeros(6, "u1"), "binary", FIELDS="x y z _ rgba h", SIZE="4 4 4 1 4 4", TYPE="F F F U U F")
    head = head.replace(b"VERSION", b"COUNT 1 1 1 4 1 3\nVERSION").replace(b"WIDTH 6\nHEIGHT 1", b"WIDTH 3\nHEIGHT 2")
    cloud = read_pcd(write(tmp_path / "c.pcd", head.replace(b"COUNT \n", b"").replace(b"\n", b"\r\n") + rows.tobytes()))
    np.testing.assert_array_equal(cloud.points[:, 0], rows["x"])
    assert cloud.colours is not None
    assert cloud.colours.tolist() == [[1, 2, 3]] * 6


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_round_trip(tmp_path: Path, real: type) -> None:
    random = np.random.default_rng(1)
    points: NDArray[Any] = (random.uniform(0, 300, (500, 3)) + (UTM if real is np.float64 else 0)).astype(real)
    points[3] = np.nan
    cloud = PointCloud(
        points,
        random.integers(0, 256, (500, 3), dtype=np.uint8),
        labels=np.r_[np.arange(255), np.full(245, 255)].astype(np.uint8),
        seen=random.random(500) < 0.5,
        scores=random.random(500, dtype=np.float32),
        segments=random.integers(-1, 9, 500, dtype=np.int32),
        support=random.integers(0, 9, 500, dtype=np.int32),
    )
    write_pcd(tmp_path / "sub" / "c.pcd", cloud)
    found = read_pcd(tmp_path / "sub" / "c.pcd")
    assert found.points.dtype == real
    for name in ("points", "colours", "labels", "seen", "scores", "segments", "support"):
        np.testing.assert_array_equal(getattr(found, name), getattr(cloud, name), err_msg=name)


def test_lzf_is_what_a_plain_decoder_gives() -> None:
    random = np.random.default_rng(0)
    samples = [b"", b"a", b"ab" * 5000, bytes(9000), random.bytes(2000), random.integers(0, 3, 5000, "u1").tobytes()]
    for data in samples:
        packed = lzf_compress(data)
        assert lzf_decompress(packed, len(data)) == plain_lzf(packed) == data


def plain_lzf(data: bytes) -> bytes:
    """Follow the published description of LZF one byte at a time."""
    out, rest = [], list(data)
    while rest:
        control = rest.pop(0)
        if control < 32:
            out += [rest.pop(0) for _ in range(control + 1)]
            continue
        length = control >> 5
        if length == 7:
            length += rest.pop(0)
        start = len(out) - ((control & 31) << 8) - rest.pop(0) - 1
        for index in range(length + 2):
            out.append(out[start + index])
    return bytes(out)


ROWS = table()
PACKED = body(ROWS, "binary_compressed")
HUGE = {"WIDTH": "999999999999999999", "POINTS": "999999999999999999"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a PCD file"),
        (b"ply\nformat ascii 1.0\n", "not a PCD file"),
        (bytes(100), "not a PCD file"),
        (header(ROWS, "binary")[:80], "no DATA line"),
        (header(ROWS, "zip"), "DATA is 'zip'"),
        (header(ROWS, "binary", FIELDS=""), "no FIELDS line"),
        (header(ROWS, "binary", SIZE="4 4"), "SIZE has 2 values for 6 fields"),
        (header(ROWS, "binary", TYPE="F F F F F Q"), "has TYPE Q and SIZE 4"),
        (header(ROWS, "binary", SIZE="4 4 4 4 4 3"), "has TYPE U and SIZE 3"),
        (header(ROWS, "binary", COUNT="1 1 1 1 1 -1"), "COUNT of the PCD header is '-1'"),
        (header(ROWS, "binary", COUNT="1 1 1 1 1 99999999"), "the limit is 4096"),
        (header(ROWS, "binary", WIDTH="many"), "WIDTH of the PCD header is 'many'"),
        (header(ROWS, "binary", WIDTH="9" * 5000), "expected a whole number"),
        (header(ROWS, "binary", WIDTH="200 1"), "WIDTH has 2 values"),
        (header(ROWS, "binary", POINTS="100"), "POINTS 100 but WIDTH x HEIGHT 200"),
        (header(ROWS, "binary", WIDTH="0", POINTS="0"), "0 points"),
        (header(ROWS, "binary", FIELDS="x y z x rgb label"), "names field 'x' twice"),
        (header(ROWS, "binary", FIELDS="a b c d e f") + ROWS.tobytes(), "no property 'x'"),
        (header(ROWS, "binary").replace(b"HEIGHT", b"DEPTH"), "'DEPTH 1' is not understood"),
        (header(ROWS, "binary") + ROWS.tobytes()[:-1], "cut off after 199 of 200"),
        (header(ROWS, "binary", **HUGE) + ROWS.tobytes(), "cut off after 200 of 999999999999999999"),
        (header(ROWS, "ascii", **HUGE) + body(ROWS, "ascii"), "cut off after 200 of 999999999999999999"),
        (header(ROWS, "ascii") + b"1 2\n" * 200, "2 values but the header names 6"),
        (header(ROWS, "ascii") + b"a b c d e f\n" * 200, "does not consist of numbers"),
        (header(ROWS, "binary_compressed"), "cut off"),
        (header(ROWS, "binary_compressed") + PACKED[:-1], "cut off"),
        (header(ROWS, "binary_compressed", **HUGE) + PACKED, "shorter than the header states"),
        (header(ROWS, "binary_compressed", WIDTH="201", POINTS="201") + PACKED, "the header states 4824"),
        (header(ROWS, "binary_compressed") + PACKED[:8] + bytes(len(PACKED) - 8), "are damaged"),
        (header(ROWS, "binary_compressed") + PACKED[:8] + b"\xff" * (len(PACKED) - 8), "before its beginning"),
        (header(ROWS, "ascii") + b"nan nan nan 0 0 0\n" * 200, "none of its 200 points is finite"),
    ],
)  # fmt: skip
def test_bad_files_are_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = write(tmp_path / "bad.pcd", content)
    with pytest.raises(InputError, match=r"bad\.pcd") as error:
        read_pcd(path)
    assert words in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


@pytest.mark.filterwarnings("error")
def test_damaged_files_are_one_sentence_or_a_cloud(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "damaged.pcd"
    intact = [header(ROWS[:40], kind, WIDTH="40", POINTS="40") + body(ROWS[:40], kind) for kind in KINDS]
    said = list[str]()
    for number in range(300):
        data = bytearray(intact[number % 3])
        for _ in range(int(random.integers(1, 4))):
            near = 250 if random.random() < 0.7 else len(data)
            data[int(random.integers(near))] = int(random.integers(256))
        try:
            assert len(read_pcd(write(path, bytes(data[: int(random.integers(200, len(data) + 1))]))).points)
        except InputError as error:
            said.append(str(error))
    assert said
    assert all(text.startswith(str(path)) and text.isprintable() for text in said)
