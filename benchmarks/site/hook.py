"""Hook of MkDocs: files of the repository that pages name become pages of the site.

Pages link to `../src/labelfree/scene.py` or `../results/tables/table1.md`, as GitHub needs it. The site has no such
folders. The hook adds the linked files below `repository/` and points the links there, so that the strict build reports
every link whose file does not exist. A linked folder becomes a list of its files.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.site.markdown_links import internal_links

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

PREFIX = "repository"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".txt": "text", ".md": ""}
"""Files shown as a page, with the language of their code; other files, such as JSON, are copied."""
NAMES = {"Makefile": "make", "LICENSE": "text", "Containerfile": "dockerfile", "CITATION.cff": "yaml"}
NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add every file of the repository that is reachable by links of the pages."""
    from mkdocs.structure.files import File

    root = repository(config)
    pages = [(_source(file.src_uri), file.content_string) for file in files if file.src_uri.endswith(".md")]
    for path in linked_files(root, pages):
        place = root / path
        if as_page(place):
            files.append(File.generated(config, address(path, root), content=page_content(root, path)))
        else:
            files.append(File.generated(config, address(path, root), abs_src_path=str(place)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links out of `docs/` to the pages that `on_files` has added."""
    return with_links(markdown, _source(page.file.src_uri), repository(config))


def repository(config: MkDocsConfig) -> Path:
    """Return the folder of mkdocs.yml."""
    return Path(config.config_file_path).resolve().parent


def linked_files(root: Path, pages: list[tuple[str, str]]) -> list[str]:
    """Return the repository's files and folders that the pages name, and those that Markdown among them names.

    A page is its path in the repository and its text. Of a folder, the files in it are added too.
    """
    found: dict[str, None] = {}
    waiting = list(pages)
    while waiting:
        source, text = waiting.pop()
        named = [path for link in internal_links(text) if link.path and (path := resolved(source, link.path))]
        for path in named:
            place = root / path
            if path in found or path.startswith("docs/") or not place.exists():
                continue
            found[path] = None
            if place.is_dir():
                named += [f"{path}/{file.name}" for file in _shown(place)]
            elif place.suffix == ".md":
                waiting.append((path, place.read_text(encoding="utf-8")))
    return sorted(found)


def page_content(root: Path, path: str) -> str:
    """Return the Markdown of a repository's file or folder."""
    place = root / path
    if place.suffix == ".md":
        return NOT_SEARCHED + place.read_text(encoding="utf-8")
    if place.is_dir():
        rows = "\n".join(f"- [`{file.name}`]({place.name}/{file.name}) {_summary(file)}" for file in _shown(place))
        return f"{NOT_SEARCHED}# `{path}`\n\n{rows}\n"
    language = LANGUAGES.get(place.suffix) or NAMES[place.name]
    text = place.read_text(encoding="utf-8")
    return f"{NOT_SEARCHED}# `{path}`\n\n``````{language}\n{text}\n``````\n"


def with_links(markdown: str, source: str, root: Path) -> str:
    """Return the text of page `source` of the repository with its links as the site needs them."""
    here = posixpath.dirname(address(source, root))
    parts, done = [], 0
    for link in internal_links(markdown):
        path = resolved(source, link.path) if link.path else None
        if path is None or not (root / path).exists():
            continue  # the strict build reports it
        moved = posixpath.relpath(address(path, root), here or ".")
        parts += [markdown[done : link.start], moved + (f"#{link.anchor}" if link.anchor else "")]
        done = link.start + len(link.target)
    return "".join([*parts, markdown[done:]])


def resolved(source: str, target: str) -> str | None:
    """Return the path in the repository that a relative link of file `source` means; None if it leads outside."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    return None if path.startswith((".", "/")) else path


def address(path: str, root: Path) -> str:
    """Return where the site has a file of the repository, as MkDocs names sources."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{PREFIX}/{path}.md" if as_page(root / path) else f"{PREFIX}/{path}"


def as_page(place: Path) -> bool:
    """Return whether a file is shown as a page rather than copied."""
    return place.is_dir() or place.suffix in LANGUAGES or place.name in NAMES


def _source(address_: str) -> str:
    """Return the path in the repository of a source of MkDocs: the inverse of `address` for pages."""
    inside = address_.removeprefix(f"{PREFIX}/")
    return f"docs/{address_}" if inside == address_ else inside.removesuffix(".md")


def _shown(folder: Path) -> Iterator[Path]:
    """Yield the text files in a folder itself."""
    yield from sorted(file for file in folder.iterdir() if file.is_file() and as_page(file))


def _summary(file: Path) -> str:
    """Return the first line of a module's docstring."""
    if file.suffix != ".py":
        return ""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
