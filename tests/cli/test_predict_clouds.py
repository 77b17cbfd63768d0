"""`predict NET cloud.ply` and `label`: far coordinates, points that are not finite, other labels and colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib import recfunctions
from numpy.typing import NDArray
from PIL import Image

from labelfree import Vocabulary
from labelfree.cli.main import main
from labelfree.config.networks import Segmenter3DConfig
from labelfree.data.ply import read_ply
from labelfree.data.point_files import read_points, write_points
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.nets.segmenters import Segmenter3D

UTM = (456789.0, 5432100.0, 312.0)
NAMES = Vocabulary(("a", "b", "c", "d"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 3D network for colour with random weights, saved as a run leaves it."""
    torch.manual_seed(0)
    text = random_orthogonal(8, len(NAMES), seed=0).T
    config = Segmenter3DConfig("MinkUNet14A", (8,) * 8, first_width=8, first_kernel=3, text_width=8, latent_width=4)
    folder = tmp_path_factory.mktemp("run")
    Segmenter3D(config, text, NAMES).save_pretrained(folder / "3d")
    return folder


def table(points: NDArray[np.float64], **columns: NDArray[np.generic]) -> NDArray[np.void]:
    """Points with random colours and more columns."""
    colours = np.random.default_rng(1).integers(0, 256, (len(points), 3), dtype=np.uint8)
    rows = np.zeros(len(points), [(axis, "<f8") for axis in "xyz"] + [(c, "u1") for c in ("red", "green", "blue")])
    for index, axis in enumerate("xyz"):
        rows[axis] = points[:, index]
    for index, channel in enumerate(("red", "green", "blue")):
        rows[channel] = colours[:, index]
    names, values = list(columns), list(columns.values())
    return recfunctions.append_fields(rows, names, values, usemask=False) if names else rows


def write(path: Path, rows: NDArray[np.void]) -> Path:
    words = {"f8": "double", "f4": "float", "u1": "uchar", "i2": "short"}
    kinds = [f"property {words[rows.dtype[name].str[1:]]} {name}" for name in rows.dtype.names or ()]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}", *kinds, "end_header\n"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(head).encode() + rows.tobytes())
    return path


def read(path: Path) -> NDArray[np.void]:
    """Read a binary PLY of scalars, independently of the library."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    words = {"double": "<f8", "float": "<f4", "uchar": "u1", "int": "<i4"}
    kinds = [line.split()[1:] for line in head.decode().splitlines() if line.startswith("property")]
    return np.frombuffer(body, [(name, words[kind]) for kind, name in kinds])


def cloud(count: int = 3000) -> NDArray[np.float64]:
    """Points of a room on a grid of 1/1024 m, which shifts by whole metres keep exactly."""
    return np.random.default_rng(0).integers(0, 4 * 1024, (count, 3)) / 1024


def predict(run: Path, file: Path, out: Path) -> tuple[NDArray[np.void], NDArray[np.uint8]]:
    assert main(["predict", str(run), str(file), "--out", str(out)]) == 0
    return read(out / f"{file.stem}.ply"), np.load(out / f"{file.stem}.npy")


def test_a_cloud_in_utm_gets_the_labels_that_it_gets_near_the_origin(run: Path, tmp_path: Path) -> None:
    _, near = predict(run, write(tmp_path / "in" / "near.ply", table(cloud())), tmp_path / "out")
    given = table(cloud() + UTM)
    found, far = predict(run, write(tmp_path / "in" / "far.ply", given), tmp_path / "out")
    assert len(np.unique(near)) > 1
    np.testing.assert_array_equal(near, far)
    for axis in "xyz":
        assert found[axis].dtype == np.float64
        np.testing.assert_allclose(found[axis], given[axis], rtol=0, atol=1e-6)


def test_any_coordinates_come_back_within_a_micrometre(run: Path, tmp_path: Path) -> None:
    given = table(np.random.default_rng(2).uniform(0, 300, (500, 3)) + UTM)
    found, _ = predict(run, write(tmp_path / "in" / "wide.ply", given), tmp_path / "out")
    for axis in "xyz":
        np.testing.assert_allclose(found[axis], given[axis], rtol=0, atol=1e-6)


def test_points_that_are_not_finite_are_dropped_and_keep_their_place(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table(cloud())
    _, clean = predict(run, write(tmp_path / "in" / "clean.ply", rows), tmp_path / "out")
    holes = np.insert(rows, [0, 1500, 3000], np.zeros(1, rows.dtype))
    places = [0, 1501, 3002]
    for place, axis, value in zip(places, "xyz", (np.nan, np.inf, 1e300)):
        holes[place][axis] = value
    found, labels = predict(run, write(tmp_path / "in" / "holes.ply", holes), tmp_path / "out")
    assert "3 of 3,003 points are not finite and were dropped" in capsys.readouterr().err
    np.testing.assert_array_equal(labels[places], 255)
    np.testing.assert_array_equal(np.delete(labels, places), clean)
    np.testing.assert_array_equal(found["label"], labels)
    np.testing.assert_array_equal(np.delete(found["y"], places), rows["y"])
    assert np.isnan(found["x"][places]).all()


def test_labels_that_are_not_needed_do_no_harm(run: Path, tmp_path: Path) -> None:
    rows = table(cloud(), label=np.full(3000, 1191, np.int16))
    predict(run, write(tmp_path / "in" / "cloud.ply", rows), tmp_path / "out")


def test_a_cloud_without_colour_is_one_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(cloud(), intensity=np.ones(3000, np.float32))
    file = write(tmp_path / "in" / "grey.ply", recfunctions.drop_fields(rows, ["red", "green", "blue"]))
    assert main(["predict", str(run), str(file), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"labelfree: {file}: its points have only coordinates and intensity")
    assert "trained on colour" in said
    assert "add red, green and blue" in said


def test_points_that_no_image_saw_are_marked_in_the_file(room: Path, tmp_path: Path) -> None:
    for folder in ("clip", "sam"):
        (tmp_path / folder).mkdir()
        for file in (room / "color").iterdir():
            Image.fromarray(np.ones((48, 64), np.uint8)).save(tmp_path / folder / f"{file.stem}.png")
    given = ["--classes", "wall, floor", "--clip", str(tmp_path / "clip"), "--sam", str(tmp_path / "sam")]
    assert main(["label", str(room), "--limit", "1", *given, "--out", str(tmp_path / "out")]) == 0
    found = read(tmp_path / "out" / "points" / "room.ply")
    np.testing.assert_array_equal(found["seen"], found["score"] > 0)
    assert 0 < found["seen"].mean() < 1
    assert (found["label"] == 1).all()  # the protocol's labels: unseen points take a neighbour's


@pytest.mark.parametrize("kind", ["las", "laz", "pcd"])
def test_a_cloud_of_another_format_gets_the_same_labels_in_its_own_format(
    run: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind != "pcd":
        pytest.importorskip("lazrs")
    rows = table(cloud(500) + UTM)
    _, expected = predict(run, write(tmp_path / "in" / "cloud.ply", rows), tmp_path / "ply")
    given = tmp_path / "in" / f"cloud.{kind}"
    write_points(given, read_ply(tmp_path / "in" / "cloud.ply"))
    assert main(["predict", str(run), str(given), "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").glob("c*")} == {"classes.json", f"cloud.{kind}", "cloud.npy"}
    found = read_points(tmp_path / "out" / f"cloud.{kind}")
    labels = np.load(tmp_path / "out" / "cloud.npy")
    np.testing.assert_array_equal(found.labels, labels)
    assert (labels == expected).mean() > 0.98  # LAS stores steps of 0.1 mm: few points change their voxel
    np.testing.assert_allclose(found.points[:, 1], rows["y"], rtol=0, atol=1e-3)
    assert main(["predict", str(run), str(given), "--out", str(tmp_path / "as-ply"), "--format", "ply"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "as-ply" / "cloud.ply")["label"], labels)
    given.write_bytes(given.read_bytes()[:-100])
    assert main(["predict", str(run), str(given), "--out", str(tmp_path / "out")]) == 2
    assert f"{given}: " in capsys.readouterr().err


def test_a_format_without_a_cloud_is_one_sentence(
    run: Path, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run), str(room), "--out", str(tmp_path / "out"), "--format", "laz"]) == 2
    assert "is no point cloud" in capsys.readouterr().err


def test_fuse_gives_confidence_and_segments(run: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "in" / "cloud.ply", table(cloud()))
    assert main(["predict", str(run), str(file), "--out", str(tmp_path / "out"), "--fuse"]) == 0
    found = read(tmp_path / "out" / "cloud.ply")
    assert {"label", "score", "segment"} <= set(found.dtype.names or ())
    for segment in np.unique(found["segment"]):
        assert len(set(found["label"][found["segment"] == segment])) == 1
