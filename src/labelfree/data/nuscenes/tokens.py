"""Tokens, nuScenes' keys: 32 hexadecimal digits, held as 16 bytes so that millions of them join in a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError

Tokens = NDArray[np.uint64]  # [n, 2]


def pack(tokens: Sequence[str], path: Path) -> Tokens:
    """Return tokens as numbers; one that is none is named."""
    try:
        packed = np.frombuffer(bytes.fromhex("".join(tokens)), dtype=">u8").astype(np.uint64)
        if len(packed) == 2 * len(tokens) and all(len(token) == 32 for token in tokens):
            return packed.reshape(-1, 2)
    except ValueError:
        pass
    wrong = next(token for token in tokens if len(token) != 32 or not _is_hex(token))
    raise InputError(f"{path}: token '{wrong}' is not 32 hexadecimal digits; unpack the metadata archive again.")


def unpack(token: NDArray[np.uint64]) -> str:  # [2]
    """Return a token as it is written."""
    return f"{int(token[0]):016x}{int(token[1]):016x}"


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in text)


@dataclass(frozen=True, eq=False)
class TokenTable:
    """The tokens of a table, ready to be looked up."""

    path: Path
    tokens: Tokens
    order: NDArray[np.int64]

    @classmethod
    def of(cls, path: Path, tokens: Tokens) -> TokenTable:
        """Sort the tokens; one that stands twice is named."""
        order = np.lexsort((tokens[:, 1], tokens[:, 0]))
        twice = np.flatnonzero((tokens[order][1:] == tokens[order][:-1]).all(axis=1))
        if len(twice):
            raise InputError(
                f"{path}: token {unpack(tokens[order[twice[0]]])} stands twice; unpack the metadata archive again."
            )
        return cls(path, tokens, order)

    def rows(self, wanted: Tokens, where: Path) -> NDArray[np.int32]:  # [m]
        """Return the row of each token; the first that is not there is named, with the table that speaks of it."""
        high = self.tokens[self.order, 0]
        place = np.searchsorted(high, wanted[:, 0])
        found = np.minimum(place, max(0, len(high) - 1))
        rows = self.order[found] if len(high) else np.zeros(len(wanted), np.int64)
        wrong = np.ones(len(wanted), bool) if not len(high) else (self.tokens[rows] != wanted).any(axis=1)
        if wrong.any():
            token = unpack(wanted[int(wrong.argmax())])
            raise InputError(
                f"{where}: speaks of {token}, which {self.path.name} does not have; unpack the metadata archive again."
            )
        return rows.astype(np.int32)
