"""Links and headings of Markdown, as GitHub reads them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2`*~* *$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
INLINE = re.compile(r"\]\(\s*<?([^()\s<>]*(?:\([^()\s]*\)[^()\s]*)*)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s+\".*\")?$", re.MULTILINE)
ATTRIBUTE = re.compile(r"<[a-z][^>]*?\s(?:href|src)=\"([^\"]+)\"", re.IGNORECASE)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)(?:\s+#+)?\s*$", re.MULTILINE)
EXTERNAL = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
"""Links with a scheme such as `https:`, and links to a host."""


@dataclass(frozen=True)
class Link:
    """The target of a link in Markdown, at `start` of the text."""

    start: int
    target: str

    @property
    def path(self) -> str:
        """Return the part before `#`; empty for a link inside the page."""
        return self.target.partition("#")[0]

    @property
    def anchor(self) -> str:
        """Return the part after `#`."""
        return self.target.partition("#")[2]


def internal_links(text: str) -> Iterator[Link]:
    """Yield the targets of links and images in order, without external ones and without those in code or comments."""
    shown = _without_code(text)
    found = (match for pattern in (INLINE, REFERENCE, ATTRIBUTE) for match in pattern.finditer(shown))
    for match in sorted(found, key=lambda match: match.start(1)):
        target = match.group(1)
        if target and not EXTERNAL.match(target):
            yield Link(match.start(1), target)


def anchors(text: str) -> set[str]:
    """Return the anchors of all headings."""
    seen: Counter[str] = Counter()
    found = set()
    for match in HEADING.finditer(_without_fences(text)):
        slug = github_slug(match.group(1))
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def github_slug(heading: str, separator: str = "-") -> str:
    """Return the anchor that GitHub gives a heading; the site uses the same ones (`toc.slugify` of mkdocs.yml)."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    kept = (letter for letter in text.lower() if letter in "-_ " or unicodedata.category(letter)[0] in "LNM")
    return "".join(kept).strip().replace(" ", separator)


def _without_code(text: str) -> str:
    """Return the text with code and comments blanked, at the same length."""
    shown = _without_fences(text)
    for pattern in (COMMENT, CODE):
        shown = pattern.sub(_blank, shown)
    return shown


def _without_fences(text: str) -> str:
    return FENCE.sub(_blank, text)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())
