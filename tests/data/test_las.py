from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelfree.data.las import read_las, write_las
from labelfree.data.point_cloud import PointCloud
from labelfree.errors import DataWarning, InputError

laspy = pytest.importorskip("laspy")
pytest.importorskip("lazrs")

UTM = np.array([456789.123, 5432100.456, 312.0])
NAMES = [f"class {label}" for label in range(5)]


def cloud(count: int = 300, **changed: object) -> PointCloud:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "points": random.uniform(0, 300, (count, 3)) + UTM,
        "colours": random.integers(0, 256, (count, 3), dtype=np.uint8),
        "labels": np.where(random.random(count) < 0.1, 255, random.integers(0, 5, count)).astype(np.uint8),
        "seen": random.random(count) < 0.5,
        "scores": random.random(count, dtype=np.float32),
        "segments": random.integers(-1, 9, count, dtype=np.int32),
        "support": random.integers(0, 9, count, dtype=np.int32),
    }
    return PointCloud(**(columns | changed))


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    path, given = tmp_path / "sub" / f"c{suffix}", cloud()
    assert write_las(path, given, NAMES) == 0
    found = read_las(path)
    assert np.abs(found.points - given.points).max() < 1e-4
    for name in ("colours", "labels", "seen", "scores", "segments", "support"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given, name), err_msg=name)
    assert found.intensity is None
    assert read_las(path, labels=False).labels is None
    with laspy.open(path) as reader:
        assert reader.header.are_points_compressed == (suffix == ".laz")


def test_laspy_reads_classification_names_and_dimensions(tmp_path: Path) -> None:
    given = cloud()
    write_las(tmp_path / "c.laz", given, NAMES)
    assert given.labels is not None
    las = laspy.read(tmp_path / "c.laz")
    np.testing.assert_allclose(las.xyz, given.points, atol=1e-4)
    np.testing.assert_array_equal(las.classification, [1 if v == 255 else 64 + v for v in given.labels.tolist()])
    np.testing.assert_array_equal(las["label"], given.labels)
    np.testing.assert_array_equal(las["score"], given.scores)
    np.testing.assert_array_equal(las["segment"], given.segments)
    table = las.header.vlrs.get("ClassificationLookupVlr")[0]
    assert table.lookups == {1: "unclassified"} | {64 + label: name for label, name in enumerate(NAMES)}


def test_names_of_any_length_and_alphabet_fit_the_lookup_table(tmp_path: Path) -> None:
    write_las(tmp_path / "c.las", cloud(), ["a" * 200, "стул", "b", "c", "d"])
    assert laspy.read(tmp_path / "c.las").header.vlrs.get("ClassificationLookupVlr")[0].lookups[64] == "a" * 15


def test_standard_codes_are_no_labels_and_user_codes_are(tmp_path: Path) -> None:
    las = laspy.create(point_format=6, file_version="1.4")
    las.x = las.y = las.z = np.arange(4.0)
    las.classification = [0, 1, 2, 6]
    las.write(tmp_path / "survey.las")
    assert read_las(tmp_path / "survey.las").labels is None
    las.classification = [2, 64, 70, 255]
    las.intensity = [0, 1, 2, 3]
    las.write(tmp_path / "user.las")
    found = read_las(tmp_path / "user.las")
    assert found.labels is not None
    assert found.labels.tolist() == [255, 0, 6, 191]
    assert found.intensity is not None
    assert found.intensity.tolist() == [0, 1, 2, 3]
    assert found.colours is None


@pytest.mark.parametrize(("form", "version"), [(0, "1.2"), (1, "1.2"), (2, "1.2"), (3, "1.2"), (6, "1.4"), (7, "1.4")])
def test_a_labelled_file_keeps_what_the_source_holds(tmp_path: Path, form: int, version: str) -> None:
    source, given = tmp_path / "in.laz", cloud()
    las = laspy.create(point_format=form, file_version=version)
    las.header.scales, las.header.offsets = [0.01, 0.01, 0.001], [456000, 5432000, 0]
    las.header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "keys", bytes(8)))
    las.x, las.y, las.z = given.points.T
    las.intensity, las.return_number = np.arange(300), np.arange(300) % 5
    if form < 6:
        las.scan_angle_rank = np.arange(300) % 181 - 90
    las.add_extra_dim(laspy.ExtraBytesParams("height", np.float32))
    las.add_extra_dim(laspy.ExtraBytesParams("label", np.float64))
    las["height"] = np.arange(300) / 7
    if form in (2, 3, 7):
        las.red = np.arange(300) * 100
    if form in (1, 3, 7):
        las.gps_time = np.arange(300) / 3
    las.write(source)
    write_las(tmp_path / "out.laz", given, NAMES, like=source)
    out = laspy.read(tmp_path / "out.laz")
    for name in ("X", "Y", "Z", "intensity", "return_number", "height", *(["red"] if form in (2, 3, 7) else [])):
        np.testing.assert_array_equal(out[name], las[name], err_msg=name)
    if form < 6:
        np.testing.assert_allclose(out.scan_angle * 0.006, las.scan_angle_rank, atol=0.003)
    if form in (1, 3, 7):
        np.testing.assert_array_equal(out.gps_time, las.gps_time)
    np.testing.assert_array_equal(out["label"], given.labels)
    np.testing.assert_array_equal(read_las(tmp_path / "out.laz").labels, given.labels)
    assert any(vlr.record_id == 34735 for vlr in out.header.vlrs)


def test_extents_beyond_32_bits_get_coarser_steps(tmp_path: Path) -> None:
    wide = cloud(points=np.linspace([-1e6, 0, 0], [1e6, 1, 1], 300))
    write_las(tmp_path / "wide.las", wide)
    assert np.abs(read_las(tmp_path / "wide.las").points - wide.points).max() <= 5e-4
    stray = cloud(points=np.r_[cloud().points[1:], np.zeros((1, 3))])
    with pytest.warns(DataWarning, match=r"in steps of 0\.01 m; remove stray points"):
        write_las(tmp_path / "origin.las", stray)
    with pytest.raises(InputError, match="remove stray points"):
        write_las(tmp_path / "stray.las", cloud(points=np.linspace([0, 0, 0], [1e12, 1, 1], 300)))


def test_points_that_are_not_finite_are_left_out_and_counted(tmp_path: Path) -> None:
    points = cloud().points
    points[[3, 50]] = np.nan
    given = cloud(points=points)
    assert write_las(tmp_path / "c.las", given, NAMES) == 2
    assert given.labels is not None
    np.testing.assert_array_equal(read_las(tmp_path / "c.las").labels, np.delete(given.labels, [3, 50]))


def test_too_many_classes_for_the_classification(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="192 user-defined classes, not 193; write PLY or PCD"):
        write_las(tmp_path / "c.las", cloud(), [str(number) for number in range(193)])


@pytest.mark.parametrize("missing", ["laspy", "lazrs"])
def test_a_missing_extra_is_one_sentence(tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r"pip install 'labelfree\[points\]'"):
        read_las(tmp_path / "c.las")
    with pytest.raises(InputError, match=r"pip install 'labelfree\[points\]'"):
        write_las(tmp_path / "c.las", cloud())


def changed(content: bytes, place: int, kind: str, value: float) -> bytes:
    data = bytearray(content)
    struct.pack_into(kind, data, place, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("suffix", "place", "kind", "value", "words"),
    [
        (".las", 0, "<I", 0, "does not begin with 'LASF'"),
        (".las", 25, "<B", 5, "LAS version 1.5"),
        (".las", 94, "<H", 100, "states points from byte"),
        (".las", 96, "<I", 4_000_000_000, "states points from byte 4,000,000,000"),
        (".las", 100, "<I", 4_000_000_000, "cut off in record"),
        (".las", 104, "<B", 11, "for points of format 11"),
        (".las", 105, "<H", 20, "states 20 bytes for points of format 7"),
        (".las", 131, "<d", float("nan"), "scales coordinates by (nan"),
        (".las", 139, "<d", 0.0, "scales coordinates by"),
        (".las", 155, "<d", float("inf"), "scales coordinates by"),
        (".las", 243, "<I", 4_000_000_000, "of 4000000000 of its header"),
        (".las", 247, "<Q", 0, "0 points"),
        (".las", 247, "<Q", 1 << 60, "cut off after 300 of 1152921504606846976"),
        (".laz", 247, "<Q", 1 << 60, "states 1,152,921,504,606,846,976 points in"),
    ],
)
def test_wrong_headers_are_one_sentence(
    tmp_path: Path, suffix: str, place: int, kind: str, value: float, words: str
) -> None:
    path = tmp_path / f"bad{suffix}"
    write_las(path, cloud(), NAMES)
    path.write_bytes(changed(path.read_bytes(), place, kind, value))
    with pytest.raises(InputError, match=rf"bad\{suffix}") as error:
        read_las(path)
    assert words in str(error.value)


def test_a_chunk_table_with_an_absurd_count(tmp_path: Path) -> None:
    path = tmp_path / "bad.laz"
    write_las(path, cloud(), NAMES)
    content = path.read_bytes()
    start = struct.unpack_from("<I", content, 96)[0]
    table = struct.unpack_from("<q", content, start)[0]
    path.write_bytes(changed(content, table + 4, "<I", 4_000_000_000))
    with pytest.raises(InputError, match="states 4,000,000,000 chunks"):
        read_las(path)


def test_missing_empty_and_truncated_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.las: no such file"):
        read_las(tmp_path / "none.las")
    with pytest.raises(InputError, match="not a regular file"):
        read_las(tmp_path)
    for suffix in (".las", ".laz"):
        write_las(tmp_path / f"c{suffix}", cloud(), NAMES)
        content = (tmp_path / f"c{suffix}").read_bytes()
        path = tmp_path / f"short{suffix}"
        for size in (0, 3, 100, 300, 374, 500, 2000, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:size])
            with pytest.raises(InputError, match=rf"short\{suffix}") as error:
                read_las(path)
            assert str(error.value).isprintable()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_damaged_files_are_one_sentence_or_a_cloud(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / f"damaged{suffix}"
    write_las(path, cloud(60), NAMES)
    content, said = path.read_bytes(), list[str]()
    for _ in range(50):
        data = bytearray(content)
        for _ in range(int(random.integers(1, 4))):
            reach = 375 if random.random() < 0.5 else len(data)  # the header, or anywhere
            data[int(random.integers(reach))] = int(random.integers(256))
        path.write_bytes(bytes(data))
        try:
            assert len(read_las(path).points)
        except InputError as error:
            said.append(str(error))
    assert said
    assert all(text.startswith(str(path)) and text.isprintable() for text in said)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("form", range(11))
def test_every_point_format_with_several_chunks_and_extra_bytes(tmp_path: Path, form: int) -> None:
    las = laspy.create(point_format=form, file_version="1.4")
    las.add_extra_dim(laspy.ExtraBytesParams("label", np.uint8))
    las.add_extra_dim(laspy.ExtraBytesParams("height", np.float64))
    las.x = las.y = las.z = np.arange(60_000) / 100
    las["label"] = np.arange(60_000) % 9
    las.write(tmp_path / "c.laz")
    found = read_las(tmp_path / "c.laz")
    np.testing.assert_allclose(found.points[:, 2], np.arange(60_000) / 100, atol=1e-9)
    np.testing.assert_array_equal(found.labels, np.arange(60_000) % 9)


def test_absurd_layers_and_parts_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bad.laz"
    write_las(path, cloud(), NAMES)
    content = path.read_bytes()
    start, record_bytes = struct.unpack_from("<I", content, 96)[0], struct.unpack_from("<H", content, 105)[0]
    path.write_bytes(changed(content, start + 8 + record_bytes + 4, "<I", 4_000_000_000))
    with pytest.raises(InputError, match=r"states layers of 4,000,\d+,\d+ bytes"):
        read_las(path)
    place = content.index(b"laszip encoded") - 2 + 54 + 34
    path.write_bytes(changed(content, place + 2, "<H", 60_000))
    with pytest.raises(InputError, match="states another format than 7"):
        read_las(path)
