from __future__ import annotations

from pathlib import Path

import pytest

from labelfree.data.patterns import Pattern, natural_order
from labelfree.errors import InputError

FILES = (
    "color/2.png", "color/10.JPG", "color/._2.png", "color/notes.txt", "mixed/frame01.jpg", "mixed/depth01.png",
    "cam0/rgb_7.png", "cam1/rgb_7.png", "tum/1.50.png", "seq/frame-000001.color.png",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("color/*.{png,jpg}", {"2": "color/2.png", "10": "color/10.JPG"}),
        ("color/*.*", {"2": "color/2.png", "10": "color/10.JPG", "notes": "color/notes.txt"}),
        ("mixed/frame*.jpg", {"01": "mixed/frame01.jpg"}),
        ("mixed/depth{name}.png", {"01": "mixed/depth01.png"}),
        ("cam?/rgb_*.tif", {}),
        ("cam*/rgb_*.png", {"0_7": "cam0/rgb_7.png", "1_7": "cam1/rgb_7.png"}),
        ("tum/*.png", {"1.50": "tum/1.50.png"}),
        ("seq/frame-*.color.png", {"000001": "seq/frame-000001.color.png"}),
        ("none/*.png", {}),
    ],
)
def test_names_are_what_the_star_stands_for(folder: Path, pattern: str, found: dict[str, str]) -> None:
    assert {name: str(path.relative_to(folder)) for name, path in Pattern(pattern).find(folder).items()} == found
    assert list(Pattern(pattern).find(folder)) == list(found)
    assert Pattern(str(folder / pattern)).find(folder.parent).keys() == found.keys()


def test_two_files_of_one_name(folder: Path) -> None:
    with pytest.raises(InputError, match="frame name '7' already belongs to"):
        Pattern("cam?/rgb_*.png").find(folder)


@pytest.mark.parametrize(
    "names", [["2", "10"], ["0.5", "1", "9.25", "10.125"], ["a2", "a10", "b1"], ["frame", "frame1", "frame12"]]
)
def test_natural_order(names: list[str]) -> None:
    assert natural_order(reversed(names)) == names
