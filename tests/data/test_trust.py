"""What the command line says of damaged, contradictory and hostile data sets, in every layout."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.nerfstudio_capture import write as write_nerfstudio
from helpers.small_capture import INTRINSICS, make_capture
from labelfree.cli.main import main
from labelfree.data.collection import open_scenes
from labelfree.data.fusion import FusionOptions, fuse, fuse_cached
from labelfree.data.layout import ReadOptions
from labelfree.data.scannet.sens import AFTER_NAME, JPEG, ZLIB_USHORT, open_sens
from labelfree_lab.layouts.nuimages import write_nuimages
from labelfree_lab.layouts.nuscenes import VERSION, write_nuscenes
from labelfree_lab.layouts.scannet import write_scannet
from labelfree_lab.streets.route import DriveSize

STREET = DriveSize(key_frames=2, image_size=(24, 40), azimuths=60)
SCAN = "scene0000_00"
FLIPS = 50
LAYOUTS = ("scannet", "sens", "export", "nuscenes", "nuimages", "nerfstudio", "rgbd")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tree of each layout."""
    base = tmp_path_factory.mktemp("layouts")
    write_scannet(base / "scannet", 7, 2, views=2)
    shutil.copytree(base / "scannet", base / "sens", ignore=shutil.ignore_patterns("scannet_frames_25k"))
    _export(base / "scannet" / "scans" / SCAN / f"{SCAN}.sens", base / "export" / SCAN)
    write_nuscenes(base / "nuscenes", 3, 2, STREET)
    write_nuimages(base / "nuimages", 3, 2, STREET)
    write_nerfstudio(base / "nerfstudio")
    capture = make_capture(3)
    capture.write(base / "rgbd" / "room", fuse(capture.frames(), FusionOptions(voxel_m=0.05)).points_world)
    return base


@pytest.fixture
def tree(written: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(written, tmp_path / "data"))


def _export(sens_file: Path, folder: Path) -> None:
    """Write what ScanNet's reader in Python writes, beside the scan's own `.txt` and mesh."""
    sens = open_sens(sens_file)
    for kind in ("color", "depth", "pose", "intrinsic"):
        (folder / kind).mkdir(parents=True)
    for index, frame in enumerate(sens.frames):
        Image.fromarray(sens.colour(index).load()).save(folder / "color" / f"{index}.jpg", quality=95)
        Image.fromarray(sens.depth(index).load()).save(folder / "depth" / f"{index}.png")
        np.savetxt(folder / "pose" / f"{index}.txt", frame.camera_to_world)
    for kind, matrix in (("depth", sens.intrinsics_depth), ("color", sens.intrinsics_colour)):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{kind}.txt", np.pad(matrix, (0, 1)))
    for ending in (".txt", "_vh_clean_2.ply"):
        shutil.copy(sens_file.with_name(f"{SCAN}{ending}"), folder)


def given(tree: Path, layout: str) -> list[str]:
    split = {"nuimages": ["--split", "val"], "sens": ["--every", "1"]}.get(layout, [])
    return [str(tree / layout), *split]


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(arguments)
    return code, "".join(capsys.readouterr())


def test_undamaged_trees_are_sound(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for layout in LAYOUTS:
        code, text = said(["prepare", *given(written, layout)], capsys)
        assert (code, "problem:" in text, "sound" in text) == (0, False, True), f"{layout}: {text}"


# --- prepare finds every file that is empty or truncated


def _images(tree: Path, layout: str) -> list[Path]:
    """One image of each kind, never the first of its folder, which is the one whose header is read anyway."""
    places = {
        "scannet": (f"scannet_frames_25k/{SCAN}/{kind}" for kind in ("color", "depth", "label")),
        "export": (f"{SCAN}/{kind}" for kind in ("color", "depth")),
        "nuscenes": ("samples/CAM_FRONT", "samples/CAM_BACK"),
        "nerfstudio": ("images", "depth"),
        "rgbd": ("room/color", "room/depth", "room/label"),
    }
    if layout == "nuimages":
        row = json.loads((tree / layout / "v1.0-val" / "sample_data.json").read_text())[-1]
        return [tree / layout / row["filename"]]
    return [sorted((tree / layout / place).iterdir())[-1] for place in places[layout]]


@pytest.mark.parametrize("layout", ["scannet", "export", "nuscenes", "nuimages", "nerfstudio", "rgbd"])
@pytest.mark.parametrize("share", [0.0, 0.6, 0.98])
def test_every_damaged_image_is_named(
    layout: str, share: float, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = _images(tree, layout)
    for path in damaged:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
    code, text = said(["prepare", *given(tree, layout)], capsys)
    assert code == 2
    missed = [path for path in damaged if f"problem: {path}" not in text]
    assert not missed, f"{missed} in {text}"


@pytest.mark.parametrize(
    ("layout", "pattern"),
    [
        ("scannet", "scans/scene0000_00/*_vh_clean_2.ply"),
        ("scannet", "scans/scene0000_00/*_2d-label-filt.zip"),
        ("sens", "scans/scene0000_00/*.sens"),
        ("nuscenes", f"lidarseg/{VERSION}/*.bin"),
        ("rgbd", "room/cloud.ply"),
        ("rgbd", "room/pose/*.txt"),
    ],
)
def test_every_other_truncated_file_is_named(
    layout: str, pattern: str, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sorted((tree / layout).glob(pattern))[-1]
    shutil.rmtree(tree / layout / "scannet_frames_25k", ignore_errors=True)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    code, text = said(["prepare", *given(tree, layout)], capsys)
    assert code == 2
    assert f"problem: {path}" in text


def test_members_of_sens_files_are_looked_at(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree / "sens" / "scans" / SCAN / f"{SCAN}.sens"
    data = bytearray(path.read_bytes())
    sens = open_sens(path)
    offset, length = sens.frames[0].colour
    data[offset + length - 40 : offset + length] = bytes(40)
    offset, length = sens.frames[1].depth
    data[offset + length - 40 : offset + length] = bytes(40)
    path.write_bytes(data)
    code, text = said(["prepare", *given(tree, "sens")], capsys)
    assert code == 2
    assert f"problem: {path}, frame 0" in text
    assert f"problem: {path}, depth of frame 1" in text


def test_all_missing_files_are_named_at_once(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = sorted((tree / "rgbd" / "room" / "depth").iterdir())[1:]
    for path in missing:
        path.unlink()
    code, text = said(["prepare", *given(tree, "rgbd")], capsys)
    assert code == 2
    assert all(f"problem: {path}" in text for path in missing)


@pytest.mark.parametrize("layout", ["scannet", "nuscenes", "nerfstudio", "rgbd"])
def test_pipes_and_folders_in_place_of_files(layout: str, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = _images(tree, layout)[0]
    damaged.unlink()
    pairs: tuple[tuple[Callable[[], None], Callable[[], None]], ...] = (
        (damaged.mkdir, damaged.rmdir),
        (lambda: os.mkfifo(damaged), damaged.unlink),
        (lambda: damaged.symlink_to("nowhere"), damaged.unlink),
    )
    for make, remove in pairs:
        make()
        assert {said([verb, *given(tree, layout)], capsys)[0] for verb in ("check", "prepare")} == {2}
        remove()


# --- bombs


def test_depth_that_inflates_without_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A small file whose depth map unpacks to 200 MB, and one that states maps of 12 gigapixels."""
    bomb = zlib.compress(bytes(200 << 20), 9)
    image = (np.zeros((6, 8, 3), np.uint8), np.uint8)
    for sides in ((4, 3), (120_000, 100_000)):
        folder = tmp_path / f"{sides[0]}" / "scans" / SCAN
        folder.mkdir(parents=True)
        matrices = [float(v) for _ in range(4) for v in np.diag([5.0, 5, 1, 1]).ravel()]
        packed = _jpeg(image[0])
        pose = np.eye(4, dtype="<f4").tobytes()
        with (folder / f"{SCAN}.sens").open("wb") as file:
            file.write(struct.pack("<IQ", 4, 1) + b"s")
            file.write(AFTER_NAME.pack(*matrices, JPEG, ZLIB_USHORT, 8, 6, *sides, 1000.0) + struct.pack("<Q", 1))
            file.write(pose + bytes(16) + struct.pack("<QQ", len(packed), len(bomb)) + packed + bomb)
        for verb in ("check", "prepare"):
            code, text = said([verb, str(tmp_path / f"{sides[0]}"), "--every", "1"], capsys)
            assert (code, f"{SCAN}.sens" in text) == (2, True)


def _jpeg(pixels: np.ndarray) -> bytes:
    import io

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG")
    return file.getvalue()


def test_members_of_archives_that_unpack_without_end(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree / "sens" / "scans" / SCAN / f"{SCAN}_2d-label-filt.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("label-filt/0.png", bytes(100 << 20))
    code, text = said(["prepare", *given(tree, "sens")], capsys)
    assert (code, "unpacks to more than" in text) == (2, True)


@pytest.mark.parametrize("text", ["[" * 50_000, "a: &a [b]\nc: [" + "*a," * 300_000 + "]", "name: 2001-99-99"])
def test_descriptions_that_are_too_much(text: str, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree / "rgbd" / "capture.yaml"
    path.write_text(text)
    code, said_text = said(["check", str(path)], capsys)
    assert (code, str(path) in said_text) == (2, True)


# --- names stay inside their folder


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/../../outside", "..", "a\nb"])
def test_names_of_descriptions(name: str, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree / "rgbd" / "capture.yaml"
    path.write_text(json.dumps({"root": "room", "name": name}))
    for verb in ("check", "prepare"):
        code, text = said([verb, str(path)], capsys)
        assert (code, f"{path}: name" in text) == (2, True)


@pytest.mark.parametrize("name", ["../../outside", "/outside", "\u0000", "a\u001b[2J"])
def test_names_in_tables(name: str, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree / "nuscenes" / VERSION / "scene.json"
    rows = json.loads(path.read_text())
    rows[0]["name"] = name
    path.write_text(json.dumps(rows))
    for verb in ("check", "prepare"):
        code, text = said([verb, *given(tree, "nuscenes")], capsys)
        assert (code, str(path) in text, "\x1b" in text) == (2, True, False)


def test_names_of_cameras(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = {"images": "*.png", "intrinsics": {"fx": 1, "fy": 1, "cx": 1, "cy": 1}, "lidar_to_camera": [1] * 12}
    path = tmp_path / "rig.yaml"
    path.write_text(f"layout: lidar\npoints: '*.bin'\ncameras: {json.dumps({'../../out': camera})}\n")
    code, text = said(["check", str(path)], capsys)
    assert (code, "must stay inside" in text) == (2, True)


# --- calibration


def test_an_export_with_the_other_name_of_its_folder(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The export's own calibration is used, named, and compared with the scan's `.txt`."""
    folder = tree / "export" / SCAN
    expected = open_scenes(folder)[0].frames[0].intrinsics
    (folder / "intrinsic").rename(folder / "intrinsics")
    info = folder / f"{SCAN}.txt"
    shifted = float(info.read_text().split("mx_depth = ")[1].split()[0]) + 3.9
    lines = [f"mx_depth = {shifted}" if "mx_depth" in line else line for line in info.read_text().splitlines()]
    info.write_text("\n".join(lines) + "\n")
    assert np.allclose(open_scenes(folder)[0].frames[0].intrinsics, expected)
    used = folder / "intrinsics" / "intrinsic_depth.txt"
    for verb, code in (("check", 0), ("prepare", 0)):
        found, text = said([verb, str(tree / "export")], capsys)
        assert found == code
        assert "intrinsics/intrinsic_depth.txt" in text
        assert f"{used} and {info} (fx_depth...) disagree: cx is" in text
        assert "3.9 pixels" in text


def test_the_calibration_that_is_used_is_told(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for layout, words in (
        ("scannet", "calibration: {}/scannet_frames_25k/scene0000_00/intrinsics_depth.txt"),
        ("sens", "scene0000_00.sens (its header)"),
        ("rgbd", "calibration: {}/room/intrinsic.txt"),
        ("nerfstudio", "calibration: {}/transforms.json: the file's"),
    ):
        code, text = said(["check", *given(tree, layout)], capsys)
        assert (code, words.format(tree / layout) in text, "disagree" in text) == (0, True, False), text


def test_other_layouts_with_two_calibrations(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savetxt(tree / "rgbd" / "room" / "K.txt", INTRINSICS + np.array([[0.0, 0, 2], [0, 0, 0], [0, 0, 0]]))
    path = tree / "nerfstudio" / "transforms.json"
    data = json.loads(path.read_text())
    data["frames"][0] |= {"fl_x": data["fl_x"] + 5, "fl_y": data["fl_y"] + 5}
    path.write_text(json.dumps(data))
    for layout, words in (("rgbd", "K.txt disagree: cx is"), ("nerfstudio", "disagree: fx is")):
        for verb in ("check", "prepare"):
            code, text = said([verb, *given(tree, layout)], capsys)
            assert (code, words in text) == (0, True), text


# --- what is kept between runs


def flipped(path: Path, random: np.random.Generator) -> bytes:
    """Flip one bit of a file; return what it held."""
    before = path.read_bytes()
    data = bytearray(before)
    data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
    path.write_bytes(data)
    return before


def test_a_damaged_cloud_is_fused_again(tmp_path: Path) -> None:
    capture, options = make_capture(2), FusionOptions(voxel_m=0.2, stride=4)
    frames = capture.frames()
    truth = fuse(frames, options, with_labels=True)
    assert truth.labels is not None
    fuse_cached(frames, options, tmp_path)
    (path,) = tmp_path.glob("cloud-*.npz")
    whole, random = path.read_bytes(), np.random.default_rng(5)
    shape = whole.index(f"({len(truth.points_world)}, 3)".encode())  # of the first array, in its header
    for number in range(FLIPS + 4):
        path.write_bytes(whole)
        if number < FLIPS:
            flipped(path, random)
        elif number == FLIPS:
            path.write_bytes(whole[: shape + 1] + bytes([whole[shape + 1] ^ 1]) + whole[shape + 2 :])
        else:
            path.write_bytes((whole[: len(whole) // 2], b"", b"hello")[number - FLIPS - 1])
        found = fuse_cached(frames, options, tmp_path)
        assert np.array_equal(found.points_world, truth.points_world)
        assert np.array_equal(found.colours, truth.colours)
        assert found.labels is not None
        assert np.array_equal(found.labels, truth.labels)


def test_a_damaged_index_is_built_again(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("labelfree.data.nuscenes.index.CACHED_FROM_BYTES", 0)

    def content() -> list[bytes | str]:
        source = open_scenes(written / "nuscenes", options=ReadOptions(every=1)).sources[-1]
        index = source.index  # type: ignore[attr-defined]
        return [str(index.scenes), *(np.asarray(getattr(index.arrays, n)).tobytes() for n in vars(index.arrays))]

    expected, random = content(), np.random.default_rng(6)
    (folder,) = (tmp_path / "labelfree").iterdir()
    names = sorted(path.name for path in folder.iterdir())
    for _ in range(FLIPS):
        flipped(folder / names[int(random.integers(len(names)))], random)
        assert content() == expected
    for damage in ("missing", "empty", "pipe"):
        path = folder / names[3]
        path.unlink()
        if damage == "empty":
            path.touch()
        elif damage == "pipe":
            os.mkfifo(path)
        assert content() == expected
        assert (folder / names[3]).stat().st_size > 0
