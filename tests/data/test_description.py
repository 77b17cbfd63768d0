from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from labelfree.data.description import KEYS, Description, Pinhole, description_from_dict, read_description
from labelfree.errors import InputError

ROOT = Path(__file__).parents[2]
OWN_DATA = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")


def test_values_are_read() -> None:
    data = {
        "images": "./rgb/*.jpg", "depth": None, "pose_is": "world_to_camera", "camera_axes": "opengl", "every": 3,
        "intrinsics": {"fx": 500, "fy": 501, "cx": 320, "cy": 240}, "intrinsics_size": [480, 640],
        "classes": ["a", "b"],
    }  # fmt: skip
    description = description_from_dict(data, "x.yaml")
    assert description.images == "rgb/*.jpg"
    assert description.depth is None
    assert description.intrinsics == Pinhole(500, 501, 320, 240)
    assert description.intrinsics_size == (480, 640)
    assert description.convention.pose_is == "world_to_camera"
    assert description.classes == ("a", "b")
    assert description.stated == frozenset(data)
    assert description.poses == Description().poses


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"image": "a/*"}, "unknown key 'image'; did you mean 'images'?"),
        ({"zzz": 1}, "unknown key 'zzz'; keys are name, root,"),
        ({"intrinsics": {"fx": 1, "fy": 1, "cx": 1, "cz": 1}}, "unknown key 'cz'; did you mean"),
        ({"intrinsics": {"fx": 1, "fy": 1, "cx": 1}}, "intrinsics lacks 'cy'"),
        ({"pose_is": "c2w"}, "pose_is is 'c2w', expected camera_to_world or world_to_camera"),
        ({"camera_axes": 3}, "expected opencv or opengl"),
        ({"depth_scale": 0}, "depth_scale is 0, expected a positive number"),
        ({"depth_scale": True}, "expected a positive number"),
        ({"depth_scale": 10**400}, "expected a positive number"),
        ({"every": 1.5}, "every is 1.5, expected a whole number"),
        ({"intrinsics_size": 3}, "expected [height, width]"),
        ({"images": 3}, "images is 3"),
        ({"classes": [1]}, "classes is [1]"),
    ],
)
def test_mistakes_are_one_sentence(data: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=r"^x\.yaml: ") as error:
        description_from_dict(data, "x.yaml")
    assert words in str(error.value)


@pytest.mark.parametrize(("text", "words"), [("a: [", "not valid YAML"), ("- 1", "found list"), ("", "found NoneType")])
def test_bad_files(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_description(tmp_path / "d.yaml")


def test_the_example_is_valid() -> None:
    assert read_description(ROOT / "examples" / "hololens-rgbd.yaml").poses == "poses.txt"


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", OWN_DATA, re.DOTALL))
def test_the_descriptions_in_the_manual_are_valid(block: str) -> None:
    assert description_from_dict(yaml.safe_load(block), "docs/own-data.md").stated


@pytest.mark.parametrize("key", KEYS)
def test_the_manual_lists_every_key_with_its_default(key: str) -> None:
    row = next(line for line in OWN_DATA.splitlines() if line.startswith(f"| `{key}` |"))
    default = getattr(Description(), key)
    if default is not None:
        assert f"{default:g}" in row if isinstance(default, float | int) else str(default) in row
