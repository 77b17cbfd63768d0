"""Check every link of the documentation: of the Markdown files, of the notebook, and of the built site.

    python -m benchmarks.check_links                      # Markdown as GitHub shows it
    python -m benchmarks.check_links --site build/site    # and the pages that MkDocs has built

Paths must exist and be known to git, anchors must be headings of their page. A page of the site must not load anything
from another host, so that it works offline. External links are not fetched. The exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from benchmarks.site.markdown_links import EXTERNAL, anchors, internal_links

ROOT = Path(__file__).parents[1]
SKIPPED = {".venv", "build", "dist", "runs", "node_modules"}
LINE = re.compile(r"L\d+(?:-L\d+)?")
"""An anchor of lines of code, as GitHub has them."""
DOCUMENTED = re.compile(r"^::: (\S+)$", re.MULTILINE)
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}
STYLE_LOADS = re.compile(r"(?:url\(\s*[\"']?|@import\s+[\"'])((?:https?:)?//[^\"')\s]+)")


def check_sources(root: Path) -> list[str]:
    """Return one line for each broken link of the Markdown files and notebooks of a repository."""
    known = _known_files(root)
    pages = [path for path in sorted(known) if path.endswith((".md", ".ipynb"))]
    return [problem for page in pages for problem in _check_page(root, page, known)]


def check_site(site: Path) -> list[str]:
    """Return one line for each broken link of a built site, and for each thing that a page loads from elsewhere."""
    pages = {path.relative_to(site).as_posix(): read_page(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"{site}: holds no HTML pages; build the site first."]
    problems = []
    for name, page in pages.items():
        problems += [f"{name}: loads {address} from another host" for address in page.loaded if EXTERNAL.match(address)]
        problems += [f"{name}: {wrong}" for link in page.links if (wrong := _wrong_on_site(site, name, link, pages))]
        if "mermaid" in page.classes:
            problems.append(f"{name}: has a Mermaid diagram, whose code is loaded from another host")
    for style in sorted(site.rglob("*.css")):
        found = STYLE_LOADS.findall(style.read_text(encoding="utf-8"))
        problems += [f"{style.relative_to(site)}: loads {address} from another host" for address in found]
    return problems


@dataclass
class HtmlPage(HTMLParser):
    """Anchors, links and loaded files of one HTML page."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what an element has."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.ids.add(value)
            elif name == "class":
                self.classes.update(value.split())
            elif (tag, name) in LOADED:
                self.loaded.append(value)
                self.links.append(value)
            elif tag == "a" and name == "href":
                self.links.append(value)


def read_page(path: Path) -> HtmlPage:
    """Return what a page links to."""
    page = HtmlPage()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


def _wrong_on_site(site: Path, name: str, link: str, pages: dict[str, HtmlPage]) -> str:
    """Return what is wrong with a link of page `name`; empty if nothing is."""
    if EXTERNAL.match(link) or (name == "404.html" and link.startswith("/")):
        return ""  # the page for missing addresses is shown at any of them, so its links begin at the root
    path, _, anchor = unquote(link).partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
    place = site / target
    if place.is_dir():
        target, place = f"{target}/index.html", place / "index.html"
    if target.startswith("..") or not place.is_file():
        return f"link {link} leads to no file"
    if anchor and not (anchor == "__skip" or anchor in pages[target].ids if target in pages else False):
        return f"link {link} has no such anchor"
    return ""


def _check_page(root: Path, page: str, known: set[str]) -> Iterator[str]:
    folders = _folders(frozenset(known))
    for link in internal_links(read_markdown(root / page)):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(link.path))) if link.path else page
        if link.path.startswith("/"):
            yield f"{page}: link {link.target} is absolute; write it relative to the page"
        elif path not in known and path not in folders:
            there = (root / path).exists() and not path.startswith("..")
            yield f"{page}: link {link.target} leads to " + ("a file that git does not know" if there else "no file")
        elif link.anchor and not _has_anchor(root / path, link.anchor):
            yield f"{page}: link {link.target} has no such heading"


def _has_anchor(place: Path, anchor: str) -> bool:
    if place.suffix == ".md":
        return anchor in _anchors(place) or any(f"{anchor}.".startswith(f"{name}.") for name in _documented(place))
    return place.is_file() and bool(LINE.fullmatch(anchor))


@cache
def _anchors(place: Path) -> set[str]:
    return anchors(place.read_text(encoding="utf-8"))


@cache
def _documented(place: Path) -> list[str]:
    """Return the objects whose docstrings a page shows; `check_site` checks their anchors."""
    return DOCUMENTED.findall(place.read_text(encoding="utf-8"))


def read_markdown(path: Path) -> str:
    """Return the text of a Markdown file, or that of the Markdown cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def _known_files(root: Path) -> set[str]:
    """Return the files that git knows, or will know; without git, all files."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    if done.returncode == 0 and (root / ".git").exists():
        return {name for name in done.stdout.decode().split("\0") if name and (root / name).is_file()}
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if path.parts[0] not in SKIPPED}


@cache
def _folders(known: frozenset[str]) -> set[str]:
    found = {"."}
    for name in known:
        while name := posixpath.dirname(name):
            found.add(name)
    return found


def main() -> int:
    """Print every problem; return 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, default=None, help="folder of the built site")
    options = parser.parse_args()
    problems = check_sources(ROOT) + (check_site(options.site) if options.site else [])
    for problem in problems:
        print(problem)
    print(f"{len(problems)} broken link(s)" if problems else "all links hold")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
