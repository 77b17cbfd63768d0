"""The exception for bad input, the warning about data, and escaping of printed text."""

from __future__ import annotations

import reprlib
import unicodedata

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that control a terminal, change the writing direction, break lines or cannot be encoded."""

_JOINERS = frozenset("\u200c\u200d")
"""Format characters that several scripts and emoji need."""


class InputError(ValueError):
    """The exception for bad input; its text is one sentence with the file, the value and the fix."""


class DataWarning(UserWarning):
    """The warning about data that does not stop the work; its text is one sentence."""


def printable(text: object, keep: str = "") -> str:
    r"""Return text with all control characters escaped, such as `\x1b`, except those in `keep`."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(letter if letter in keep or not _unprintable(letter) else _escaped(letter) for letter in shown)


def _unprintable(letter: str) -> bool:
    return unicodedata.category(letter) in _UNPRINTABLE and letter not in _JOINERS


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def shown(value: object) -> str:
    """Return the representation of a value for a message, shortened to about 60 characters."""
    return _BRIEF.repr(value)


class _Brief(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 60, 60


_BRIEF = _Brief()
