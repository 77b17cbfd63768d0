"""Look up nuScenes' tokens: 32 hexadecimal digits, stored as 16 bytes so that millions are joined in a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelfree.errors import InputError

Tokens = NDArray[np.uint64]  # [n, 2]


def pack(tokens: Sequence[str], path: Path) -> Tokens:
    """Return tokens as numbers; raises an `InputError` that names the first invalid token."""
    try:
        packed = np.frombuffer(bytes.fromhex("".join(tokens)), dtype=">u8").astype(np.uint64)
        if len(packed) == 2 * len(tokens) and all(len(token) == 32 for token in tokens):
            return packed.reshape(-1, 2)
    except ValueError:
        pass
    wrong = next(token for token in tokens if len(token) != 32 or not _is_hex(token))
    raise InputError(f"{path}: token '{wrong}' is not 32 hexadecimal digits; unpack the metadata archive again.")


def unpack(token: NDArray[np.uint64]) -> str:  # [2]
    """Return the text of a token."""
    return f"{int(token[0]):016x}{int(token[1]):016x}"


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in text)


def _mixed(tokens: Tokens) -> NDArray[np.uint64]:  # [n]
    """Return a hash of each token; collisions are rare."""
    mixed = tokens[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ tokens[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    return mixed ^ (mixed >> np.uint64(29))


@dataclass(frozen=True, eq=False)
class TokenTable:
    """The tokens of a table, sorted by hash for lookup."""

    path: Path
    tokens: Tokens
    order: NDArray[np.int64]
    """Rows in ascending order of hash."""
    keys: NDArray[np.uint64]
    """Hashes in that order."""

    @classmethod
    def of(cls, path: Path, tokens: Tokens) -> TokenTable:
        """Build the lookup table; raises an `InputError` if a token appears twice."""
        keys = _mixed(tokens)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        for place in np.flatnonzero(keys[1:] == keys[:-1]).tolist():  # equal hashes: duplicates or rare collisions
            if (tokens[order[place]] == tokens[order[place + 1]]).all():
                token = unpack(tokens[order[place]])
                raise InputError(f"{path}: token {token} appears twice; unpack the metadata archive again.")
        return cls(path, tokens, order, keys)

    def rows(self, wanted: Tokens, where: Path) -> NDArray[np.int32]:  # [m]
        """Return the row of each token; raises an `InputError` that names the first missing token and `where`."""
        found = np.full(len(wanted), -1, np.int32)
        keys = _mixed(wanted)
        place = np.searchsorted(self.keys, keys)
        missing = np.arange(len(wanted))
        while len(missing):
            inside = place[missing] < len(self.keys)
            missing = missing[inside]
            missing = missing[self.keys[place[missing]] == keys[missing]]
            rows = self.order[place[missing]]
            same = (self.tokens[rows] == wanted[missing]).all(axis=1)
            found[missing[same]] = rows[same]
            missing = missing[~same]  # another token with the same hash precedes it
            place[missing] += 1
        if (found < 0).any():
            token = unpack(wanted[int((found < 0).argmax())])
            raise InputError(
                f"{where}: refers to {token}, which {self.path.name} does not have; unpack the metadata archive again."
            )
        return found
