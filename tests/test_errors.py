"""Text from outside made safe to print."""

from __future__ import annotations

import pytest

from labelfree.errors import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.png", "plain.png"),
        ("Größe 房间.png", "Größe 房间.png"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("one\ntwo\r\x00", r"one\ntwo\r\x00"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("\udcff", r"\udcff"),
        ("\x85\u2028", r"\x85\u2028"),
    ],
)
def test_a_message_is_one_line_that_steers_nothing(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_tables_keep_their_lines() -> None:
    assert printable("a\tb\n\x1b", keep="\n\t") == "a\tb\n\\x1b"
