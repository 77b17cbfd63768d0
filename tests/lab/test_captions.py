from __future__ import annotations

import re

import numpy as np
import pytest

from labelfree.lab.captions import (
    LIST_TEMPLATES,
    MAX_OBJECTS,
    MAX_TOKENS,
    build_tokenizer,
    draw_names,
    statements_hold,
    vocabulary_words,
    write_caption,
)
from labelfree.lab.primitives import CLASS_NAMES
from labelfree.teachers.prompts import TEMPLATES

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


def test_tokenizer_knows_all_templates_and_class_names() -> None:
    tokenizer = build_tokenizer(CLASS_NAMES)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 2, 3)
    assert len(tokenizer) == 4 + len(vocabulary_words(CLASS_NAMES))
    crowd = "chair, sofa, table, wall and floor"
    for template in (*TEMPLATES, *LIST_TEMPLATES):
        ids = tokenizer(template.replace("{}", crowd))["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert (ids[0], ids[-1]) == (2, 3)
        assert len(ids) <= MAX_TOKENS
    assert tokenizer("a Monitor")["input_ids"].count(tokenizer.unk_token_id) == 1
