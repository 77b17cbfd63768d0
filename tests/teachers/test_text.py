from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from labelfree.teachers.prompts import TEMPLATES
from labelfree.teachers.text import embed_vocabulary
from labelfree.vocabulary import Vocabulary


def _encode(sentences: Sequence[str]) -> torch.Tensor:
    """A stand-in encoder: a vector that depends on every letter of the sentence, of any length."""
    rows = [torch.tensor([float(ord(letter)) for letter in sentence]) for sentence in sentences]
    return torch.stack([torch.stack([(row * (k + 1)).sin().sum() for k in range(6)]) for row in rows])


def test_agrees_with_the_recipe_written_out() -> None:
    vocabulary = Vocabulary.from_names(["wall", "other furniture", "traffic_cone"])
    embeddings = embed_vocabulary(vocabulary, _encode)
    assert embeddings.vectors.shape == (3, 6)
    assert embeddings.owners.tolist() == [0, 1, 2]
    for vector, name in zip(embeddings.vectors, vocabulary.names):
        total = torch.zeros(6)
        for template in TEMPLATES:
            encoded = _encode([template.format(name)])[0]
            total += encoded / encoded.norm()
        torch.testing.assert_close(vector, total / total.norm(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(embeddings.class_vectors(), embeddings.vectors)


def test_synonyms_belong_to_their_class() -> None:
    vocabulary = Vocabulary(("seat", "wall"), (("chair", "stool"), ("wall",)))
    embeddings = embed_vocabulary(vocabulary, _encode, ("a {}.",))
    assert embeddings.owners.tolist() == [0, 0, 1]
    one_by_one = functional.normalize(_encode(["a chair.", "a stool.", "a wall."]), dim=-1)
    torch.testing.assert_close(embeddings.vectors, one_by_one)
    mean = functional.normalize(one_by_one[:2].sum(0), dim=0)
    torch.testing.assert_close(embeddings.class_vectors(), torch.stack([mean, one_by_one[2]]))
