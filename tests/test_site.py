"""Broken links of the documentation are found, in Markdown and in the built site; commands on the pages are valid."""

from __future__ import annotations

import ast
import json
import logging
import re
import shlex
from pathlib import Path

import pytest
from benchmarks.check_links import check_site, check_sources
from benchmarks.site import hook
from benchmarks.site.markdown_links import anchors, github_slug, internal_links

import labelfree
from labelfree.cli.main import VERBS, _parse

ROOT = Path(__file__).parents[1]
TASKS = ("label-my-scan", "label-my-drive", "reproduce", "own-teacher", "publish", "scale", "quickstart")

PAGE = """# Home

[code](../src/scene.py), [table](../results/table.md#scores), [below](#two-words-more), [page](other.md#part).
`[not a link](nowhere.md)`

## Two *words*: more

![figure](figure.png) <https://example.org> [far](https://example.org/x)

```
[not a link](nowhere.md)
```
"""
TREE = {
    "docs/index.md": PAGE,
    "docs/other.md": "# Other\n\n## Part\n",
    "docs/figure.png": "",
    "src/scene.py": '"""A scene."""\n',
    "results/table.md": "# Table\n\n## Scores\n\n[page](../docs/other.md), [folder](../src)\n",
    "mkdocs.yml": "site_name: small\nuse_directory_urls: false\nsite_dir: site\n"
    "theme: {name: material, font: false}\nnot_in_nav: /repository/\n"
    "validation: {nav: {omitted_files: warn}, links: {anchors: warn, unrecognized_links: warn}}\n"
    f"hooks: [{ROOT / 'benchmarks/site/hook.py'}]\nplugins: []\n"
    "markdown_extensions: [{toc: {slugify: !!python/name:benchmarks.site.markdown_links.github_slug }}]\n",
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small repository whose links hold."""
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def build(root: Path) -> Path:
    """Build the site as `mkdocs build --strict`."""
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config

    build_site(load_config(str(root / "mkdocs.yml"), strict=True))
    return root / "site"


def test_every_link_of_the_repository_holds() -> None:
    assert check_sources(ROOT) == []


def test_links_that_hold(copy: Path) -> None:
    assert check_sources(copy) == []
    site = build(copy)
    assert check_site(site) == []
    assert 'href="repository/src/scene.py.html"' in (site / "index.html").read_text()
    assert "A scene." in (site / "repository" / "src.html").read_text()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("../src/scene.py", "../src/seen.py", "leads to no file"),
        ("../results/table.md#scores", "../results/table.md#score", "has no such heading"),
        ("#two-words-more", "#two-words", "has no such heading"),
        ("other.md#part", "other.md#parts", "has no such heading"),
        ("figure.png", "figures.png", "leads to no file"),
        ("../src/scene.py", "../../secret.txt", "leads to no file"),
        ("other.md#part", "/docs/other.md", "is absolute; write it relative to the page"),
    ],
)
def test_a_broken_link_of_the_sources_is_found(copy: Path, old: str, new: str, problem: str) -> None:
    (copy / "docs/index.md").write_text(PAGE.replace(old, new))
    assert check_sources(copy) == [f"docs/index.md: link {new} {problem}"]


def test_the_strict_build_finds_broken_links(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    from mkdocs.exceptions import Abort

    wrong = {
        "../src/scene.py": "../src/seen.py",
        "table.md#scores": "table.md#score",
        "other.md#part": "other.md#parts",
    }
    text = PAGE
    for old, new in wrong.items():
        text = text.replace(old, new)
    (copy / "docs/index.md").write_text(text)
    with caplog.at_level(logging.WARNING, "mkdocs"), pytest.raises(Abort):
        build(copy)
    assert all(new in caplog.text for new in ("'../src/seen.py'", "#score'", "#parts'"))


HTML = '<h1 id="top">T</h1><a href="b.html#part">b</a><img src="a.png"><script src="x.js"></script>'


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("b.html#part", "c.html", "a.html: link c.html leads to no file"),
        ("b.html#part", "b.html#parts", "a.html: link b.html#parts has no such anchor"),
        ("b.html#part", "#bottom", "a.html: link #bottom has no such anchor"),
        ('src="x.js"', 'src="https://cdn.example/x.js"', "a.html: loads https://cdn.example/x.js from another host"),
        ('src="a.png"', 'src="//cdn.example/a.png"', "a.html: loads //cdn.example/a.png from another host"),
        ("<h1 ", '<link href="https://fonts.example/f.css"><h1 ', "a.html: loads https://fonts.example/f.css from"),
        ("<h1 ", '<pre class="mermaid"></pre><h1 ', "a.html: has a Mermaid diagram"),
    ],
)
def test_a_broken_page_of_the_site_is_found(tmp_path: Path, old: str, new: str, problem: str) -> None:
    for name, text in {"a.html": HTML, "b.html": '<p id="part">', "a.png": "", "x.js": "", "s.css": "a{}"}.items():
        (tmp_path / name).write_text(text)
    assert check_site(tmp_path) == []
    (tmp_path / "a.html").write_text(HTML.replace(old, new))
    (found,) = check_site(tmp_path)
    assert found.startswith(problem)
    (tmp_path / "a.html").write_text(HTML)
    (tmp_path / "s.css").write_text("@import 'https://fonts.example/f.css'; a{background: url(//x.example/y.png)}")
    assert len(check_site(tmp_path)) == 2


def test_a_site_without_pages(tmp_path: Path) -> None:
    assert check_site(tmp_path) == [f"{tmp_path}: holds no HTML pages; build the site first."]


def test_slugs_and_links() -> None:
    assert github_slug("Phone scans: nerfstudio's `transforms.json`") == "phone-scans-nerfstudios-transformsjson"
    assert github_slug("`--a_b` and [c](d.md)") == "--a_b-and-c"
    assert anchors("# A\n\n## A\n\n```\n# B\n```\n") == {"a", "a-1"}
    text = "[a](b.md 'c') <img src=\"d.png\"> [e]: no\n\n[f]: g.md\n<!-- [h](i.md) --> [j](https://k) [l](m(1).md)"
    assert [link.target for link in internal_links(text)] == ["d.png", "g.md", "m(1).md"]
    assert hook.resolved("docs/a.md", "../../x") is None


@pytest.mark.parametrize("page", TASKS)
def test_commands_on_the_pages_are_valid(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every `labelfree` command of a task page has a known verb and known options."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks = "\n".join(block for language, block in fences if language in ("", "bash")).replace("\\\n", " ")
    verbs = {verb.name: verb for verb in VERBS}
    found = 0
    for line in blocks.splitlines():
        if not line.startswith("labelfree "):
            continue
        words = shlex.split(line, comments=True)
        _parse(verbs[words[1]], words[2:])  # exits with code 2 if an option is unknown
        found += 1
    assert found


def test_the_notebook_is_clean_and_names_what_exists() -> None:
    cells = json.loads((ROOT / "examples/quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    lines = [line for cell in code for line in "".join(cell["source"]).splitlines()]
    ast.parse("\n".join(line for line in lines if not line.startswith("!")))
    commands = [shlex.split(line)[3:] for line in lines if line.startswith("!")]
    for words in commands:
        _parse(next(verb for verb in VERBS if verb.name == words[0]), words[1:])
    names = set(re.findall(r"labelfree\.(\w+)", "\n".join(lines)))
    assert names <= set(labelfree.__all__), names
