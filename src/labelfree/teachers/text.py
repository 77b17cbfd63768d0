"""Embed a vocabulary with CLIP's text encoder: the frozen classifier of both networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.teachers.prompts import TEMPLATES, fill_templates
from labelfree.vocabulary import Vocabulary

EncodeText = Callable[[Sequence[str]], Tensor]
"""Function from B sentences to embeddings [B, D]."""


@dataclass(frozen=True)
class TextEmbeddings:
    """One unit vector per name; a class has one name, or several if the vocabulary gives synonyms."""

    vectors: Tensor
    """[S, D] float32, unit length, in vocabulary order."""
    owners: Tensor
    """[S] int64: the class of each name."""

    def class_vectors(self) -> Tensor:  # [K, D] unit length
        """Return one vector per class for a linear classifier: the normalised mean of its names."""
        sums = self.vectors.new_zeros(int(self.owners.max()) + 1, self.vectors.shape[1])
        return functional.normalize(sums.index_add_(0, self.owners, self.vectors), dim=-1)


def embed_vocabulary(
    vocabulary: Vocabulary,
    encode: EncodeText,
    templates: tuple[str, ...] = TEMPLATES,
) -> TextEmbeddings:
    """Embed every name of every class with all templates (Eq. 1)."""
    words = [(label, word) for label, words in enumerate(vocabulary.synonyms) for word in words]
    vectors = torch.stack([embed_name(word, encode, templates) for _, word in words])
    return TextEmbeddings(vectors, torch.tensor([label for label, _ in words], dtype=torch.int64))


def embed_name(name: str, encode: EncodeText, templates: tuple[str, ...] = TEMPLATES) -> Tensor:  # [D]
    """Embed a name: encode it in every template, normalise, average and normalise again."""
    vectors = functional.normalize(encode(fill_templates(name, templates)).float(), dim=-1)
    return functional.normalize(vectors.mean(dim=0), dim=0)
