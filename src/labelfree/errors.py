"""What a user is told: the one exception that a mistake raises, and the warning about data that is left out."""

from __future__ import annotations

import reprlib
import unicodedata

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that steer a terminal, turn the writing direction, break lines or cannot be encoded."""

_JOINERS = frozenset("\u200c\u200d")
"""Format characters that several scripts and emoji are written with."""


class InputError(ValueError):
    """Bad input from a user: one sentence with the file, the value found and what to do."""


class DataWarning(UserWarning):
    """Something about the data that a user should know although the work goes on, in one sentence."""


def printable(text: object, keep: str = "") -> str:
    r"""Return text with every control character but those of `keep` escaped, such as `\x1b`: one line, as written."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(letter if letter in keep or not _unprintable(letter) else _escaped(letter) for letter in shown)


def _unprintable(letter: str) -> bool:
    return unicodedata.category(letter) in _UNPRINTABLE and letter not in _JOINERS


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def shown(value: object) -> str:
    """Return a value as a message shows it, shortened, however large it is."""
    return _BRIEF.repr(value)


class _Brief(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 60, 60


_BRIEF = _Brief()
