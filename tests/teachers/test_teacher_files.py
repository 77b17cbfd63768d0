"""Label and mask files in place of CLIP and SAM: one scene's in the folder, several scenes' in folders of their own."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from safetensors.torch import save_file

from labelfree.errors import InputError
from labelfree.raster import ImageArray
from labelfree.scene import Frame, Scene
from labelfree.teachers.files import LabelFiles, MaskFiles
from labelfree.teachers.opening import teacher_kind
from labelfree.vocabulary import Vocabulary

NAMES = Vocabulary.from_names(["a", "b", "c"])


def scene(name: str) -> Scene:
    frame = Frame("000000", ImageArray(np.zeros((2, 2, 3), np.uint8)), np.eye(3), np.eye(4), (2, 2))
    return Scene(name, np.zeros((1, 3), np.float32), (frame,))


def store(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2), value, np.uint8)).save(path)


def test_frames_of_one_name_in_two_scenes_are_told_apart(tmp_path: Path) -> None:
    for value, name in ((1, "office"), (2, "kitchen")):
        store(tmp_path / name / "000000.png", value)
    for value, name in ((1, "office"), (2, "kitchen")):
        frame = scene(name).frames[0]
        assert frame.scene == name
        assert LabelFiles(tmp_path, NAMES).labels(frame, (2, 2)).tolist() == [[value] * 2] * 2
        assert MaskFiles(tmp_path).mask_ids(frame, (4, 4)).tolist() == [[value] * 4] * 4
    with pytest.raises(InputError, match=r"no file for frame '000000'; expected 000000\.png"):
        MaskFiles(tmp_path).mask_ids(scene("hall").frames[0], (2, 2))


def test_files_of_one_scene_may_lie_in_the_folder(tmp_path: Path) -> None:
    store(tmp_path / "000000.png", 2)
    assert LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2)).tolist() == [[2, 2], [2, 2]]


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    store(tmp_path / "office" / "000000.png", 1)
    before = MaskFiles(tmp_path).fingerprint()
    store(tmp_path / "kitchen" / "000000.png", 1)
    assert MaskFiles(tmp_path).fingerprint() != before


def scores(value: object = 0.5, dtype: str = "float32") -> NDArray[Any]:
    made = np.zeros((3, 2, 2), dtype)
    made[1, 1, 1] = value
    return made


BAD_SCORES: dict[str, tuple[ArrayLike, str]] = {
    "nan": (scores(np.nan), "hold NaN or infinite values"),
    "infinite": (scores(-np.inf), "hold NaN or infinite values"),
    "too large for float32": (scores(1e300, "float64"), "hold NaN or infinite values"),
    "complex": (scores(1j, "complex64"), "complex64"),
    "bool": (scores(True, "bool"), "bool"),
    "text": (scores("a", "U1"), "<U1"),
    "object": (scores(None, "object"), "not a readable score map"),
    "0-d": (np.float32(1.0), r"scores are \[\]; expected \[3, h, w\]"),
    "other classes": (scores()[:2], r"scores are \[2, 2, 2\]"),
    "empty": (scores()[:, :0], r"scores are \[3, 0, 2\]"),
}


@pytest.mark.parametrize("name", BAD_SCORES)
def test_score_maps_that_are_no_numbers_are_one_sentence(tmp_path: Path, name: str) -> None:
    array, message = BAD_SCORES[name]
    np.save(tmp_path / "000000.npy", array)
    with pytest.raises(InputError, match=rf"000000\.npy: .*{message}"):
        LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2))
    if np.asarray(array).dtype.kind in "fbc":
        (tmp_path / "000000.npy").unlink()
        save_file({"scores": torch.from_numpy(np.asarray(array))}, tmp_path / "000000.safetensors")
        with pytest.raises(InputError, match=r"000000\.safetensors: "):
            LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2))


def test_huge_and_malformed_score_maps_are_refused_without_reading_them(tmp_path: Path) -> None:
    path = tmp_path / "000000.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (3, 30_000, 30_000)}
        )
        header = file.tell()
    with pytest.raises(InputError, match=r"000000\.npy: not a readable score map"):
        LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2))
    os.truncate(path, header + 4 * 3 * 30_000 * 30_000)  # sparse: it takes no room
    with pytest.raises(InputError, match=r"scores are \[3, 30000, 30000\], more than 536870912 values"):
        LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2))
    path.unlink()
    archive = io.BytesIO()
    np.savez(archive, a=np.ones(3))
    contents = (b"", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"{}", archive.getvalue(), pickle.dumps([1]), b"hello")
    for number, content in enumerate(contents):
        (tmp_path / "000000.safetensors").write_bytes(content)
        with pytest.raises(InputError, match=r"000000\.safetensors: "):
            LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2))
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"000000\.npy: not a readable score map") as caught:
            LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2)), number
        assert "pickle" not in str(caught.value)
        path.unlink()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int32])
def test_score_maps_of_any_real_numbers_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    best = torch.tensor([[0, 2], [1, 0]])
    made = torch.nn.functional.one_hot(best, 3).permute(2, 0, 1).contiguous().to(dtype)
    save_file({"scores": made}, tmp_path / "000000.safetensors")
    assert LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2)).tolist() == best.tolist()


@pytest.mark.parametrize("value", [-1, 70_000, 1.5])
def test_mask_ids_and_labels_that_are_none_are_named(tmp_path: Path, value: float) -> None:
    stored = np.full((2, 2), value, np.float32 if isinstance(value, float) else np.int32)
    Image.fromarray(stored).save(tmp_path / "000000.tiff")
    (tmp_path / "000000.tiff").rename(tmp_path / "000000.png")  # Pillow goes by the content
    expected = r"float32 values" if isinstance(value, float) else str(value)
    with pytest.raises(InputError, match=rf"000000\.png: found {expected}.*mask ids 0\.\.65535"):
        MaskFiles(tmp_path).mask_ids(scene("office").frames[0], (2, 2))
    with pytest.raises(InputError, match=rf"000000\.png: found {expected}.*class ids 0\.\.2 or 255"):
        LabelFiles(tmp_path, NAMES).labels(scene("office").frames[0], (2, 2))


def test_the_kind_of_a_teacher_is_recognised_or_stated(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "000000.png").touch()
    maps = str(tmp_path / "maps")
    assert teacher_kind(maps, "auto") == teacher_kind(maps, "files") == "files"
    assert teacher_kind(maps, "model") == teacher_kind("openai/clip-vit-base-patch16", "auto") == "model"
    with pytest.raises(InputError, match="no such folder of maps per frame"):
        teacher_kind("openai/clip-vit-base-patch16", "files")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds neither a model"):
        teacher_kind(str(tmp_path / "empty"), "auto")
