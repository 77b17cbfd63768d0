from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from labelfree.data.ply import read_ply, write_ply
from labelfree.errors import InputError

POINTS = np.array([[0, 1, 2], [3.5, -4, 5], [6, 7, 8]], dtype=np.float32)
COLOURS = np.array([[0, 128, 255], [1, 2, 3], [9, 8, 7]], dtype=np.uint8)
LABELS = np.array([0, 255, 3], dtype=np.uint8)


def header(kind: str, *lines: str) -> bytes:
    return "\n".join(["ply", f"format {kind} 1.0", *lines, "end_header\n"]).encode()


XYZ = ("element vertex 3", "property float x", "property float y", "property float z")
RGB = ("property uchar red", "property uchar green", "property uchar blue")
FACES = ("element face 1", "property list uchar int vertex_indices")


def mesh(kind: str) -> bytes:
    """Three vertices with normals, colours and a label, and one face: what scanners export."""
    normals = ("property float nx", "property float ny", "property float nz")
    head = header(kind, "comment made by hand", *XYZ, *normals, *RGB, "property short label", *FACES)
    rows = [(*p, 0, 0, 1, *c, label) for p, c, label in zip(POINTS, COLOURS, (0, -1, 3))]
    if kind == "ascii":
        return head + "\n".join(" ".join(f"{v:g}" for v in row) for row in rows).encode() + b"\n3 0 1 2\n"
    order = "<" if "little" in kind else ">"
    table = np.array(
        rows,
        dtype=[(f"f{i}", f"{order}f4") for i in range(6)] + [(f"c{i}", "u1") for i in range(3)] + [("l", f"{order}i2")],
    )
    return head + table.tobytes() + b"\x03" + np.arange(3, dtype=f"{order}i4").tobytes()


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_reads_meshes_in_every_format(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mesh.ply"
    path.write_bytes(mesh(kind))
    cloud = read_ply(path)
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_array_equal(cloud.colours, COLOURS)
    np.testing.assert_array_equal(cloud.labels, LABELS)
    assert cloud.intensity is None


def test_windows_line_ends_and_an_element_before_the_vertices(tmp_path: Path) -> None:
    path = tmp_path / "cloud.ply"
    head = header("ascii", "element camera 1", "property float fov", *XYZ)
    path.write_bytes((head + b"60\n0 1 2\n3.5 -4 5\n6 7 8\n").replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(read_ply(path).points, POINTS)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "out.ply"
    write_ply(path, POINTS, COLOURS, LABELS, np.array([0.1, 0.2, 0.3]), comments=["label 0 wall"])
    cloud = read_ply(path)
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_array_equal(cloud.colours, COLOURS)
    np.testing.assert_array_equal(cloud.labels, LABELS)
    assert b"comment label 0 wall" in path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ["out.ply"]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("float", (0.0, 0.5, 1.0), (0, 128, 255)),
        ("ushort", (0, 257, 65535), (0, 1, 255)),
        ("uchar", (0, 1, 1), (0, 1, 1)),
    ],
)
def test_colour_ranges(tmp_path: Path, kind: str, values: tuple[float, ...], expected: tuple[int, int, int]) -> None:
    path = tmp_path / "c.ply"
    colours = [f"property {kind} {name}" for name in ("red", "green", "blue")]
    row = " ".join(f"{v:g}" for v in values)
    path.write_bytes(header("ascii", *XYZ, *colours) + "".join(f"{i} 0 0 {row}\n" for i in range(3)).encode())
    found = read_ply(path).colours
    assert found is not None
    assert found[0].tolist() == list(expected)


def test_names_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "cloudcompare.ply"
    columns = ("property float scalar_Intensity", "property float scalar_Label")
    path.write_bytes(header("ascii", *XYZ, *columns) + b"0 0 0 0.5 2\n0 0 0 1 nan\n0 0 0 2 0\n")
    cloud = read_ply(path)
    assert cloud.intensity is not None
    assert cloud.labels is not None
    assert cloud.intensity.tolist() == [0.5, 1, 2]
    assert cloud.labels.tolist() == [2, 255, 0]


VERTICES = np.zeros((3, 3), "<f4")
BAD_LABEL = ("property int label",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes"),
        (b"solid cube\n", "not a PLY"),
        (b"ply\nformat ascii 1.0\nelement vertex 3\n", "end_header"),
        (header("ascii", "element vertex 0", *XYZ[1:]), "0 vertices"),
        (header("binary_little_endian", *XYZ) + VERTICES.tobytes()[:-4], "cut off after 2 of 3"),
        (header("binary_little_endian", "element vertex 999999999999", *XYZ[1:]) + b"1", "cut off after 0 of"),
        (header("ascii", *XYZ) + b"0 0 0\n1 1 1\n", "cut off after 2 of 3"),
        (header("ascii", *XYZ) + b"", "cut off after 0 of 3"),
        (header("ascii", "element face 2000000000", FACES[1], *XYZ) + b"3 0 1 2\n", "cut off after 4 of 2000000000"),
        (header("ascii", "element vertex 2000000000", *XYZ[1:]) + b"0 0 0\n", "cut off after 1 of 2000000000"),
        (header("ascii", "element vertex -3", *XYZ[1:]), "'element vertex -3' is not understood"),
        (header("ascii", "element vertex " + "9" * 5000, *XYZ[1:]), "is not understood"),
        (header("ascii", "element vertex 3", "property half x"), "'property half x' is not understood"),
        (header("binary_big_endian", "element vertex 3", *FACES), "no properties"),
        (b"ply\n" + b"comment x\n" * 100_000, "end_header"),
        (header("ascii", *XYZ) + b"0 0 0\n1 1 a\n1 1 1\n", "does not consist of numbers"),
        (header("ascii", *XYZ) + b"0 0\n1 1\n1 1\n", "2 values but the header names 3"),
        (header("ascii", *XYZ) + b"0 nan 0\n1 nan 1\ninf 1 1\n", "none of its 3 points is finite"),
        (header("ascii", *XYZ, *BAD_LABEL) + b"0 0 0 1\n1 1 1 1191\n1 1 1 0\n", "holds 1191"),
        (header("ascii", "element vertex 1", "property float x") + b"0\n", "no property 'y'"),
        (header("ascii", *FACES) + b"", "no element 'vertex'"),
        (header("ascii", *XYZ, "property list uchar int neighbours"), "list property 'neighbours'"),
        (header("binary_little_endian", *FACES, *XYZ), "list property 'vertex_indices'"),
        (header("ascii", "element vertex many"), "'element vertex many' is not understood"),
        (header("ascii", *XYZ, "property float x"), "'property float x' is not understood"),
        (header("zip", *XYZ), "'format zip 1.0' is not understood"),
    ],
)  # fmt: skip
def test_bad_files_are_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.ply"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.ply") as error:
        read_ply(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such point cloud"):
        read_ply(tmp_path / "none.ply")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ply")
    for path in (tmp_path / "pipe.ply", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="is a folder, pipe or device"):
            read_ply(path)


def test_an_unreadable_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "locked.ply").write_bytes(mesh("ascii"))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"locked\.ply: cannot be read \(Permission denied\)"):
        read_ply(tmp_path / "locked.ply")


def test_doubles_stay_doubles(tmp_path: Path) -> None:
    far = np.add(POINTS, [456789.123, 5432100.456, 0], dtype=np.float64)
    write_ply(tmp_path / "far.ply", far, seen=np.array([True, False, True]))
    cloud = read_ply(tmp_path / "far.ply")
    np.testing.assert_array_equal(cloud.points, far)
    assert cloud.seen is not None
    assert cloud.seen.tolist() == [True, False, True]
    write_ply(tmp_path / "near.ply", POINTS)
    assert read_ply(tmp_path / "near.ply").points.dtype == np.float32


def test_the_digits_of_an_ascii_file_count_not_its_header(tmp_path: Path) -> None:
    path = tmp_path / "far.ply"
    path.write_bytes(header("ascii", *XYZ) + b"456789.123 0.1 2\n456789.323 0.2 3\n456789.523 0.3 4\n")
    assert read_ply(path).points[:, 0].tolist() == [456789.123, 456789.323, 456789.523]


def test_columns_that_are_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "nan.ply"
    columns = [f"property float {name}" for name in ("red", "green", "blue")]
    path.write_bytes(header("ascii", *XYZ, *columns) + b"0 0 0 nan 0.5 1\nnan 0 1 inf 1 0\n0 0 2 1 0 0\n")
    cloud = read_ply(path)
    assert cloud.colours is not None
    assert cloud.colours.tolist() == [[0, 128, 255], [0, 255, 0], [255, 0, 0]]
    assert np.isfinite(cloud.points).all(axis=1).tolist() == [True, False, True]


def test_labels_are_only_read_where_they_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "ids.ply"
    path.write_bytes(header("ascii", *XYZ, "property int label") + b"0 0 0 1\n1 1 1 1191\n1 1 1 0\n")
    assert read_ply(path, labels=False).labels is None


def mutated(random: np.random.Generator, content: bytes) -> bytes:
    """Flip bits, cut off, delete or double a line, or replace a word."""
    lines = content.split(b"\n")
    line = int(random.integers(len(lines)))
    match int(random.integers(5)):
        case 0:
            damaged = bytearray(content)
            for place in random.integers(len(content), size=3):
                damaged[place] ^= 1 << int(random.integers(8))
            return bytes(damaged)
        case 1:
            return content[: int(random.integers(len(content)))]
        case 2:
            return b"\n".join(lines[:line] + lines[line + 1 :])
        case 3:
            return b"\n".join(lines[:line] + lines[line : line + 1] + lines[line:])
        case _:
            words = lines[line].split(b" ")
            words[int(random.integers(len(words)))] = GARBAGE[int(random.integers(len(GARBAGE)))]
            return b"\n".join([*lines[:line], b" ".join(words), *lines[line + 1 :]])


GARBAGE = (b"nan", b"-inf", b"-1", b"1e400", b"9" * 5000, b"2000000000", b"", b"\x00", b"list", b"float", b"\xc3\xa9")


@pytest.mark.filterwarnings("error")
def test_damaged_files_are_one_sentence_or_a_cloud(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "damaged.ply"
    kinds = ("ascii", "binary_little_endian", "binary_big_endian")
    for number in range(150):
        path.write_bytes(mutated(random, mesh(kinds[number % 3])))
        try:
            assert len(read_ply(path).points)
        except InputError as error:
            said = str(error)
            assert said.startswith(str(path))
            assert said.isprintable()
            assert len(said) < 400
