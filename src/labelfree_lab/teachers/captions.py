"""Captions of the lab's CLIPs: sentences that name some of the classes in a photograph, and their tokenizer.

A caption depends only on the set of classes that are visible in its image, not on where they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labelfree.teachers.prompts import TEMPLATES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Rng = np.random.Generator


@dataclass(frozen=True)
class Wording:
    """The templates of the captions of a world."""

    surfaces: tuple[str, ...]
    """Classes that are named less often than objects, since real captions rarely mention the floor."""
    lists: tuple[str, ...]
    """Templates for several names at once, each with its article."""
    nothing: str
    """The caption of an image without any class."""


ROOMS = Wording(
    ("wall", "floor"),
    (
        "{}",
        "a photo of {}.",
        "a picture of {}.",
        "a room with {}.",
        "an indoor scene with {}.",
        "there is {} in the room.",
    ),
    "a photo of a room.",
)
STREETS = Wording(
    ("driveable surface", "sidewalk", "terrain", "manmade", "vegetation"),
    (
        "{}",
        "a photo of {}.",
        "a picture of {}.",
        "a street with {}.",
        "an outdoor scene with {}.",
        "there is {} on the street.",
    ),
    "a photo of a street.",
)

MAX_OBJECTS = 3
MAX_TOKENS = 32
BEGIN, END, PAD, UNKNOWN = "<begin>", "<end>", "<pad>", "<unk>"
_TOKEN = re.compile(r"\w+|[^\w\s]+")


def draw_names(
    rng: Rng,
    visible: NDArray[np.bool_],  # [B, K]
    names: Sequence[str],
    surface_chance: float = 0.65,
    wording: Wording = ROOMS,
) -> NDArray[np.bool_]:  # [B, K], a subset of visible with at least one name where visible has one
    """Return the classes that each caption names: one to three visible objects, and sometimes surfaces."""
    surface = np.isin(np.asarray(names), wording.surfaces)
    order = np.where(visible & ~surface, rng.random(visible.shape), 2.0)
    rank = order.argsort(1).argsort(1)
    named = (rank < rng.integers(1, MAX_OBJECTS + 1, (len(visible), 1))) & visible & ~surface
    named |= visible & surface & (rng.random(visible.shape) < surface_chance)
    unnamed = ~named.any(1, keepdims=True)
    return np.asarray(named | (visible & unnamed))


def write_caption(
    rng: Rng,
    named: NDArray[np.bool_],  # [K]
    names: Sequence[str],
    single_chance: float = 0.6,
    wording: Wording = ROOMS,
) -> str:
    """Return a sentence that names exactly the classes of `named`, in random order.

    A single name, and sometimes a list, goes into one of the 85 templates that dense labelling averages over.
    """
    words = [names[index] for index in rng.permutation(np.flatnonzero(named))]
    if not words:
        return wording.nothing
    if rng.random() < single_chance:
        return str(rng.choice(TEMPLATES)).replace("{}", _join(words))
    article = ("a ", "the ", "")[int(rng.integers(3))]
    return str(rng.choice(wording.lists)).replace("{}", _join([article + word for word in words]))


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def statements_hold(
    named: NDArray[np.bool_],  # [B, K] of the captions
    visible: NDArray[np.bool_],  # [B, K] of the images
) -> NDArray[np.bool_]:  # [B images, B captions]
    """Return which captions are true of which images: all classes that they name are visible there."""
    missing = (~visible).astype(np.float32) @ named.astype(np.float32).T
    return np.asarray(missing == 0)


def vocabulary_words(names: Sequence[str], wording: Wording = ROOMS) -> list[str]:
    """Return every word of the templates and the class names, in alphabetical order."""
    sentences = [*TEMPLATES, *wording.lists, *names, wording.nothing, "a, the and"]
    return sorted({word for text in sentences for word in _TOKEN.findall(text.replace("{}", "").lower())})


def build_tokenizer(names: Sequence[str], wording: Wording = ROOMS) -> PreTrainedTokenizerFast:
    """Return a word-level tokenizer for the captions; unknown words become one unknown token."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [PAD, UNKNOWN, BEGIN, END, *vocabulary_words(names, wording)]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}",
        special_tokens=[(BEGIN, words.index(BEGIN)), (END, words.index(END))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        model_max_length=MAX_TOKENS,
        padding_side="right",
    )
