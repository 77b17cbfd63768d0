from __future__ import annotations

from pathlib import Path

import pytest

from labelfree import InputError, Vocabulary


@pytest.mark.parametrize(("preset", "count"), [("scannet20", 20), ("nuscenes16", 16), ("rooms16", 16)])
def test_presets(preset: str, count: int) -> None:
    vocabulary = Vocabulary.parse(preset)
    assert len(vocabulary) == count
    assert len(set(vocabulary.colours)) == count


def test_comma_list_keeps_the_names_verbatim() -> None:
    vocabulary = Vocabulary.parse("wall, floor,shower curtain")
    assert vocabulary.names == ("wall", "floor", "shower curtain")
    assert vocabulary.synonyms == (("wall",), ("floor",), ("shower curtain",))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.txt", "wall\n# a comment\n\nfloor\n"),
        ("a.yaml", "classes: [wall, {name: floor, synonyms: [floor, carpet], colour: [1, 2, 3]}]"),
        ("a.yaml", "[wall, floor]"),
        ("a.json", '{"classes": ["wall", "floor"]}'),
    ],
)
def test_files(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert Vocabulary.parse(str(tmp_path / file)).names == ("wall", "floor")


def test_round_trip() -> None:
    vocabulary = Vocabulary(("a", "b"), (("a", "x"), ("b",)), ((1, 2, 3), (4, 5, 6)))
    assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no classes"),
        (("a", "a"), "more than once"),
        (("a", " "), "empty"),
        (tuple(map(str, range(256))), "at most"),
    ],
)
def test_bad_names(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Vocabulary(names)


@pytest.mark.parametrize("text", ["no-such-preset", "missing.yaml", ""])
def test_unreadable(text: str) -> None:
    with pytest.raises(InputError):
        Vocabulary.parse(text)


def test_palette_is_grey_outside_the_classes() -> None:
    palette = Vocabulary.parse("rooms16").palette()
    assert palette.shape == (256, 3)
    assert palette[255].tolist() == [128, 128, 128]
