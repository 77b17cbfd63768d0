from __future__ import annotations

import re

import numpy as np
import pytest

from labelfree.teachers.prompts import TEMPLATES
from labelfree_lab.teachers.captions import (
    MAX_OBJECTS,
    MAX_TOKENS,
    ROOMS,
    STREETS,
    build_tokenizer,
    draw_names,
    statements_hold,
    vocabulary_words,
    write_caption,
)
from labelfree_lab.teachers.worlds import WORLDS, World

NAMES = ("wall", "floor", "chair", "table", "bed", "door")


def words_of(caption: str) -> set[str]:
    return set(NAMES) & set(re.findall(r"\w+", caption))


def test_captions_name_only_what_is_visible() -> None:
    rng = np.random.default_rng(0)
    visible = rng.random((300, len(NAMES))) < 0.4
    named = draw_names(rng, visible, NAMES)
    assert not (named & ~visible).any()
    assert (named.any(1) == visible.any(1)).all()
    assert named[:, 2:].sum(1).max() == MAX_OBJECTS
    for row in named:
        assert words_of(write_caption(rng, row, NAMES)) == {NAMES[k] for k in np.flatnonzero(row)}


def test_surfaces_are_named_now_and_then() -> None:
    visible = np.tile([True, True, True, False, False, False], (2000, 1))
    named = draw_names(np.random.default_rng(1), visible, NAMES, surface_chance=0.65)
    assert named[:, 2].all()
    assert named[:, :2].mean() == pytest.approx(0.65, abs=0.03)


def test_an_empty_picture_gets_an_empty_statement() -> None:
    assert write_caption(np.random.default_rng(0), np.zeros(6, bool), NAMES) == "a photo of a room."


def test_statements_hold_against_sets() -> None:
    rng = np.random.default_rng(2)
    named, visible = rng.random((7, 6)) < 0.3, rng.random((7, 6)) < 0.6
    truth = [[set(np.flatnonzero(caption)) <= set(np.flatnonzero(picture)) for caption in named] for picture in visible]
    assert statements_hold(named, visible).tolist() == truth


def test_same_generator_same_captions() -> None:
    def draw() -> list[str]:
        rng = np.random.default_rng(5)
        named = draw_names(rng, np.ones((20, 6), bool), NAMES)
        return [write_caption(rng, row, NAMES) for row in named]

    assert draw() == draw()


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_tokenizer_knows_all_templates_and_class_names(world: World) -> None:
    names, wording = world.class_names, world.wording
    tokenizer = build_tokenizer(names, wording)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 2, 3)
    assert len(tokenizer) == 4 + len(vocabulary_words(names, wording))
    crowd = ", ".join(names[:3]) + f" and {names[10]}"
    for template in (*TEMPLATES, *wording.lists, wording.nothing):
        ids = tokenizer(template.replace("{}", crowd))["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert (ids[0], ids[-1]) == (2, 3)
        assert len(ids) <= MAX_TOKENS
    assert tokenizer("a Monitor")["input_ids"].count(tokenizer.unk_token_id) == 1


def test_each_world_speaks_of_itself() -> None:
    assert not any("room" in text or "indoor" in text for text in (*STREETS.lists, STREETS.nothing))
    assert all(set(world.wording.surfaces) < set(world.class_names) for world in WORLDS.values())
    assert ROOMS.nothing == "a photo of a room."
    names = WORLDS["streets"].class_names
    visible = np.isin(names, (*STREETS.surfaces, "car"))[None].repeat(500, 0)
    named = draw_names(np.random.default_rng(3), visible, names, wording=STREETS)
    assert named[:, names.index("car")].all()
    assert named[:, names.index("terrain")].mean() == pytest.approx(0.65, abs=0.08)
    rng = np.random.default_rng(4)
    spoken = {write_caption(rng, row, names, single_chance=0.0, wording=STREETS) for row in named[:100]}
    assert any("street" in caption for caption in spoken)
