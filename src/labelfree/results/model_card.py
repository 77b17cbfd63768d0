"""The model card of a run: a README for the hub with classes, teachers, data, metrics and their command."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from labelfree.evaluation.method_results import MethodResult, Table, class_table, comparison_table
from labelfree.vocabulary import Vocabulary

LIBRARY = "labelfree"
WIDTH = 100
SCENES_NAMED = 10
"""Names of training scenes in a card; the rest is counted."""

FRONT_MATTER = """---
library_name: labelfree
pipeline_tag: image-segmentation
{license}tags:
- semantic-segmentation
- point-cloud
- label-free
- clip
- segment-anything
---"""

_LOCAL_PATH = re.compile(r"(?<![\w./~-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\,;()'\"]+[/\\])*([^\s/\\,;()'\"]+)[/\\]?")
"""An absolute path; its last part is the group."""


@dataclass(frozen=True)
class NetworkFacts:
    """One published network."""

    folder: str
    """Folder of its files, `2d` or `3d`."""
    architecture: str
    parameters: int


@dataclass(frozen=True, eq=False)
class Measurement:
    """Metrics of a run, the command that measured them, and the data in words."""

    command: str
    data: str
    methods: tuple[MethodResult, ...]


@dataclass(frozen=True, eq=False)
class CardContent:
    """Everything that a model card states."""

    repo_id: str
    version: str
    vocabulary: Vocabulary
    networks: tuple[NetworkFacts, ...]
    teachers: tuple[tuple[str, str], ...]
    """Name and description of each teacher."""
    scenes: tuple[str, ...]
    """Names of the training scenes."""
    command: str
    """The command that trains the networks again."""
    measurement: Measurement | None = None
    license: str | None = None


def model_card(content: CardContent) -> str:
    """Return the card as Markdown. Names from the run are escaped."""
    parts = (
        FRONT_MATTER.format(license=f"license: {content.license}\n" if content.license else ""),
        f"# {content.repo_id}",
        _wrapped(
            "Networks for semantic segmentation of images and point clouds, trained without labels by labelfree "
            f"{content.version}: CLIP labels the images, a vote inside SAM's masks refines the labels, and a 2D and a "
            "3D network are co-trained on them (CNS, NeurIPS 2023)."
        ),
        _networks(content),
        _use(content),
        _classes(content.vocabulary),
        _teachers(content),
        _data(content),
        _metrics(content),
        "## Limitations\n\n"
        + _wrapped(
            "The networks know the classes above and no others. Their pseudo-labels come from CLIP, whose mistakes "
            "they inherit in part. Measure them on your own data before you rely on them."
        ),
    )
    return "\n\n".join(parts) + "\n"


def without_local_paths(text: str) -> str:
    """Return text in which each absolute path is replaced by its last part; a card names no folders of a machine."""
    return _LOCAL_PATH.sub(r"\1", text)


def escaped(text: str) -> str:
    """Return text that Markdown and HTML show as it is, also inside a table."""
    shown = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", shown)


def _networks(content: CardContent) -> str:
    rows = tuple((f"`{net.folder}`", net.architecture, f"{net.parameters:,}") for net in content.networks)
    return f"## Networks\n\n{_text_table(('folder', 'network', 'parameters'), rows)}"


def _use(content: CardContent) -> str:
    folders = [network.folder for network in content.networks]
    lines = ["import labelfree", ""]
    if "2d" in folders:
        lines.append(f'net_2d = labelfree.Segmenter2D.from_pretrained("{content.repo_id}/2d")')
    if "3d" in folders:
        lines.append(f'net_3d = labelfree.Segmenter3D.from_pretrained("{content.repo_id}/3d")')
    name = content.repo_id.rpartition("/")[2]
    shell = (f"hf download {content.repo_id} --local-dir {name}", f"labelfree predict {name} INPUT --out labels")
    told = "`INPUT` is an image, a folder of images, a point cloud or a scene."
    return "\n".join(("## Use", "", "```python", *lines, "```", "", "```bash", *shell, "```", "", told))


def _classes(vocabulary: Vocabulary) -> str:
    rows = tuple(
        (str(label), escaped(name), f"`#{bytes(colour).hex()}`", escaped(", ".join(words)))
        for label, (name, words, colour) in enumerate(zip(vocabulary.names, vocabulary.synonyms, vocabulary.colours))
    )
    table = _text_table(("label", "class", "colour", "words that CLIP reads"), rows)
    return f"## Classes\n\n{table}\n\nLabel {vocabulary.ignore} is ignored."


def _teachers(content: CardContent) -> str:
    rows = tuple((name, escaped(without_local_paths(told))) for name, told in content.teachers)
    if not rows:
        return "## Teachers\n\nThe run folder does not state the teachers."
    return f"## Teachers\n\n{_text_table(('teacher', 'model and options'), rows)}"


def _data(content: CardContent) -> str:
    count = len(content.scenes)
    named = ", ".join(escaped(name) for name in content.scenes[:SCENES_NAMED])
    more = f" and {count - SCENES_NAMED} more" if count > SCENES_NAMED else ""
    told = f"{count} scene(s), without ground truth: {named}{more}." if count else "The run folder names no scenes."
    settings = _wrapped(
        "`settings.yaml` holds all settings, `classes.yaml` the classes. The command that trains the networks again:"
    )
    return f"## Training data\n\n{_wrapped(told)}\n\n{settings}\n\n```bash\n{content.command}\n```"


def _metrics(content: CardContent) -> str:
    measured = content.measurement
    if measured is None:
        return "## Metrics\n\n" + _wrapped(
            "Not measured. `labelfree evaluate RUN DATA` measures a run on data with ground truth."
        )
    parts = [
        "## Metrics",
        _wrapped(f"In %, on {escaped(without_local_paths(measured.data))}. The command that measures them:"),
        f"```bash\n{measured.command}\n```",
        _escaped_table(comparison_table(measured.methods)),
        "\n".join(f"- {escaped(each.name)}: {escaped(each.note)}" for each in measured.methods if each.note),
    ]
    modalities = {name for method in measured.methods for name, _ in method.modalities()}
    for modality in sorted(modalities):
        table = class_table(measured.methods, content.vocabulary, modality)
        parts += [f"### IoU per class, {modality}", _escaped_table(table)]
    return "\n\n".join(part for part in parts if part)


def _text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of text in Markdown, aligned to the left."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


def _escaped_table(table: Table) -> str:
    return Table(_all_escaped(table.header), tuple(_all_escaped(row) for row in table.rows)).markdown()


def _all_escaped(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(escaped(cell) for cell in cells)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
