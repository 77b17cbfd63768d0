"""Publish the networks of a run: a folder with a model card, and its upload to the Hugging Face hub."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from labelfree.config.identity import IDENTITY
from labelfree.config.training import MODALITIES
from labelfree.errors import InputError
from labelfree.evaluation.confusion import Evaluation
from labelfree.evaluation.method_results import MethodResult
from labelfree.files.atomic import atomic_file, write_text
from labelfree.files.documents import read_bytes, read_json, read_text
from labelfree.files.outputs import OutputFolder
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.results.environment import installed_version
from labelfree.results.model_card import CardContent, Measurement, NetworkFacts, model_card, without_local_paths
from labelfree.run import NETWORKS, SETTINGS, TRAINING
from labelfree.weights.hub import is_hub_name
from labelfree.weights.stored import CONFIG_NAME, WEIGHTS_NAME

CARD, CLASSES = "README.md", "classes.yaml"
TEACHERS = (("CLIP", "--clip"), ("SAM", "--sam"))
"""Names of the teachers and their entries in a run's identity."""
EVALUATION, RESULTS = "evaluation.json", "results.json"
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")
LARGEST_WEIGHTS = 1 << 34
HUB = "https://huggingface.co"

_SCENE = re.compile(r"scene '(.*)'", re.DOTALL)
"""The entry of a scene in a run's identity."""


class HubApi(Protocol):
    """The methods of `huggingface_hub.HfApi` that are used."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> object:
        """Create a model repository unless it exists."""

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> object:
        """Upload all files of a folder in one commit."""


def push_to_hub(
    run: str | Path, repo_id: str, private: bool = False, license: str | None = None, api: HubApi | None = None
) -> str:
    """Upload the networks of a run with a model card to the Hugging Face hub; return the address.

    `run` is a run folder, `repo_id` a name such as `owner/office-2026`. The repository is created if it is missing.
    Raises an `InputError` if the run has no networks or the hub refuses the upload.
    """
    with tempfile.TemporaryDirectory(prefix="labelfree-") as folder:
        write_published(run, repo_id, folder, license)
        _upload(Path(folder), repo_id, private, api or _hub())
    return f"{HUB}/{repo_id}"


def write_published(run: str | Path, repo_id: str, out: str | Path, license: str | None = None) -> tuple[Path, ...]:
    """Write what `push_to_hub` uploads into folder `out`: networks, settings and model card; return the files.

    The folder loads with `Segmenter2D.from_pretrained(out / "2d")` and `labelfree predict OUT INPUT`. Raises an
    `InputError` if a network of the run is missing or damaged.
    """
    run, out = Path(run), Path(out)
    _require_names(repo_id, license)
    content = card_content(run, repo_id, license)
    copied = [f"{net.folder}/{file}" for net in content.networks for file in (WEIGHTS_NAME, CONFIG_NAME)]
    settings = [SETTINGS] if (run / SETTINGS).is_file() else []
    files = tuple(out / name for name in (*copied, *settings, CLASSES, CARD))
    OutputFolder(out, "give another folder").claim(files)
    for name in copied:
        with atomic_file(out / name) as file:
            file.write(read_bytes(run / NETWORKS / name, LARGEST_WEIGHTS))
    for name in settings:
        write_text(out / name, without_local_paths(read_text(run / name)))
    write_text(out / CLASSES, yaml.safe_dump(content.vocabulary.to_dict(), allow_unicode=True, sort_keys=False))
    write_text(out / CARD, model_card(content))
    return files


def card_content(run: Path, repo_id: str, license: str | None = None) -> CardContent:
    """Return what the model card of a run states, from the files of its folder."""
    if not run.is_dir():
        raise InputError(f"{run}: no such folder; give the folder of a run made by 'labelfree train' or 'run'.")
    found = [each for each in MODALITIES if (run / NETWORKS / each / WEIGHTS_NAME).is_file()]
    if not found:
        raise InputError(
            f"{run / NETWORKS}: holds no trained network; give the folder of a finished run made by 'labelfree train' "
            "or 'run'."
        )
    networks = [_load(run / NETWORKS / each, each) for each in found]
    identity = _identity(run / TRAINING / IDENTITY)
    return CardContent(
        repo_id=repo_id,
        version=_version(),
        vocabulary=networks[0].vocabulary,
        networks=tuple(_facts(each, net) for each, net in zip(found, networks)),
        teachers=tuple(
            (name, str(identity[key])) for name, key in (("CLIP", "--clip"), ("SAM", "--sam")) if key in identity
        ),
        scenes=tuple(match.group(1) for key in identity if (match := _SCENE.fullmatch(key))),
        command=f"labelfree train DATA --recipe {SETTINGS} --classes {CLASSES} --out RUN",
        measurement=_measurement(run),
        license=license,
    )


def _require_names(repo_id: str, license: str | None) -> None:
    if not is_hub_name(repo_id):
        raise InputError(f"--repo '{repo_id}' is not a name of the hub: write owner/name, such as lab/office-2026.")
    if license is not None and not LICENCE.fullmatch(license):
        raise InputError(f"--license '{license}' is not an identifier of the hub: write one such as apache-2.0 or mit.")


def _load(folder: Path, modality: str) -> Segmenter2D | Segmenter3D:
    """Load a network, which verifies its files."""
    return (Segmenter2D if modality == "2d" else Segmenter3D).from_pretrained(folder)


def _facts(modality: str, net: Segmenter2D | Segmenter3D) -> NetworkFacts:
    if isinstance(net, Segmenter2D):
        told = f"DeepLabV3, {net.config.backbone}, width {net.config.width}"
    else:
        told = f"{net.config.variant}, voxels of {net.config.voxel_m} m"
    return NetworkFacts(modality, told, sum(value.numel() for value in net.parameters()))


def _identity(path: Path) -> Mapping[str, Any]:
    data = read_json(path) if path.is_file() else {}
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON object; copy the run folder again.")
    return data


def _measurement(run: Path) -> Measurement | None:
    """Return the metrics of `labelfree evaluate`, else those that the run measured itself, if any."""
    path = next((run / name for name in (EVALUATION, RESULTS) if (run / name).is_file()), None)
    if path is None:
        return None
    data = read_json(path)
    try:
        methods = tuple(_method(name, values) for name, values in data["methods"].items())
        source = str(data.get("data", ""))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a file of results that labelfree wrote; delete it and measure again.") from error
    measured = [evaluation for method in methods for _, evaluation in method.modalities()]
    if not measured:
        return None
    if path.name == RESULTS:
        told = f"{measured[0].split or 'the data of the run'}, by the run itself"
        return Measurement(f"labelfree run DATA --recipe {SETTINGS} --classes {CLASSES} --out RUN", told, methods)
    name = Path(source).name or "DATA"
    part = measured[0].split.removeprefix(source).removeprefix(", ")
    split = f" --split {shlex.quote(part)}" if part else ""
    return Measurement(
        f"labelfree evaluate RUN {shlex.quote(name)}{split}", name + (f", split {part}" if part else ""), methods
    )


def _method(name: str, values: Mapping[str, Any]) -> MethodResult:
    found = {key: Evaluation.from_dict(values[key]) for key in ("evaluation_2d", "evaluation_3d") if key in values}
    return MethodResult(name, found.get("evaluation_2d"), found.get("evaluation_3d"), str(values.get("note", "")))


def _version() -> str:
    return installed_version("labelfree") or "of unknown version"


def _hub() -> HubApi:
    from huggingface_hub import HfApi  # half a second, and only an upload needs it

    return HfApi()


def _upload(folder: Path, repo_id: str, private: bool, api: HubApi) -> None:
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id, folder_path=str(folder), commit_message=f"Upload networks of labelfree {_version()}"
        )
    except Exception as error:  # the HTTP client's exceptions differ between releases
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{repo_id}: the hub did not take the networks ({reason}); log in with 'hf auth login', check the name and "
            "the network, or write the folder with --dry-run DIR and upload it later."
        ) from error
