"""The published folder of a run loads again, its card states the run and escapes what comes from it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from labelfree.cli.main import main
from labelfree.config.networks import Segmenter2DConfig, Segmenter3DConfig
from labelfree.errors import InputError
from labelfree.evaluation.confusion import evaluate_labels
from labelfree.evaluation.method_results import MethodResult
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D
from labelfree.results.export import save_results
from labelfree.results.model_card import escaped, model_card, without_local_paths
from labelfree.results.publishing import card_content, push_to_hub, write_published
from labelfree.vocabulary import Vocabulary
from labelfree.weights import hub, stored

NAMES = Vocabulary(("wall", "floor", "a|b <img src=x>"))
IDENTITY = {
    "--clip": "CLIP of /home/me/models/clip; value",
    "--sam": "SAM",
    "scene 'office'": "d1",
    "scene 'hall_2'": "d2",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with two tiny networks, settings, identity and metrics."""
    run = tmp_path_factory.mktemp("runs") / "one"
    torch.manual_seed(0)
    text = random_orthogonal(8, 3).T.contiguous()
    small = Segmenter2DConfig("resnet18", width=8, aspp_channels=4, text_width=8, latent_width=4)
    Segmenter2D(small, text, NAMES).save_pretrained(run / "networks" / "2d")
    planes = Segmenter3DConfig(
        "MinkUNet14A", planes=(8,) * 8, first_width=8, in_channels=3, voxel_m=0.2, text_width=8, latent_width=4
    )
    Segmenter3D(planes, text, NAMES).save_pretrained(run / "networks" / "3d")
    (run / "training").mkdir()
    (run / "training" / "identity.json").write_text(json.dumps(IDENTITY))
    (run / "settings.yaml").write_text("system: cns\nteachers:\n  clip: /home/me/models/clip\n  sam: owner/sam\n")
    truth = np.array([0, 0, 1, 1], np.uint8)
    measured = evaluate_labels([(truth, np.array([0, 1, 1, 1], np.uint8))], NAMES, "/data/rooms, val")
    save_results(run / "evaluation.json", [MethodResult("cns", measured, measured)], {"data": "/data/rooms"})
    return run


def test_the_folder_loads_and_states_the_run(finished: Path, tmp_path: Path) -> None:
    assert main(["publish", str(finished), "--repo", "lab/office", "--dry-run", str(tmp_path / "out")]) == 0
    out = tmp_path / "out"
    shown = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.name[0] != "."}
    networks = {f"{folder}/{name}" for folder in ("2d", "3d") for name in ("config.json", "model.safetensors")}
    assert shown == {"README.md", "settings.yaml", "classes.yaml", *networks}
    assert Segmenter2D.from_pretrained(out / "2d").vocabulary == NAMES
    assert Vocabulary.from_file(out / "classes.yaml") == NAMES
    card = (out / "README.md").read_text(encoding="utf-8")
    for part in ("labelfree evaluate RUN rooms --split val", "office, hall", "CLIP of clip; value", "| wall ", "58.3"):
        assert part in card, part
    assert "/home/me" not in card + (out / "settings.yaml").read_text()
    assert "<img" not in card
    assert max(len(line) for line in card.splitlines() if not line.startswith("|")) <= 100


def test_predict_takes_the_folder(finished: Path, room: Path, tmp_path: Path) -> None:
    write_published(finished, "lab/office", tmp_path / "out")
    image = next((room / "color").iterdir())
    for given in (image, room / "cloud.ply"):
        assert main(["predict", str(tmp_path / "out"), str(given), "--out", str(tmp_path / "labels")]) == 0


class FakeHub:
    def __init__(self, folder: Path, refuses: Exception | None = None) -> None:
        self.folder, self.refuses, self.created = folder, refuses, ("", False)

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        self.created = (repo_id, private and exist_ok)

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        if self.refuses:
            raise self.refuses
        shutil.copytree(folder_path, self.folder / repo_id, ignore=lambda _, names: [n for n in names if n[0] == "."])


def test_what_is_uploaded_is_downloaded(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeHub(tmp_path)
    assert push_to_hub(finished, "lab/office", private=True, api=api) == "https://huggingface.co/lab/office"
    assert api.created == ("lab/office", True)
    asked: list[tuple[str, list[str]]] = []

    def download(name: str, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((name, allow_patterns))
        return str(tmp_path / name)

    monkeypatch.setattr(stored, "hub_answers", lambda name: True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.chdir(finished)  # where no folder has the name
    found = Segmenter3D.from_pretrained("lab/office/3d").state_dict()
    mine = Segmenter3D.from_pretrained(finished / "networks" / "3d").state_dict()
    assert all(torch.equal(found[name], mine[name]) for name in mine)
    assert asked == [("lab/office", ["3d/config.json", "3d/model.safetensors"])]


def test_a_refusal_is_one_sentence(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lab/office: the hub did not take the networks \(401 Unauthorised\); log in"):
        push_to_hub(finished, "lab/office", api=FakeHub(tmp_path, ValueError("401 Unauthorised\nRequest ID: 7")))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--repo", "office"], "--repo 'office' is not a name of the hub"),
        (["--repo", "lab/office", "--license", "my own"], "--license 'my own' is not an identifier"),
    ],
)
def test_bad_names(
    finished: Path, tmp_path: Path, given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(finished), "--dry-run", str(tmp_path / "out"), *given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_networks_or_with_other_files(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained network"):
        card_content(tmp_path, "lab/office")
    with pytest.raises(InputError, match="no such folder"):
        card_content(tmp_path / "none", "lab/office")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match="is not overwritten; give another folder"):
        write_published(finished, "lab/office", tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken)
    weights = broken / "networks" / "3d" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        card_content(broken, "lab/office")
    (broken / "evaluation.json").write_text('{"methods": {"cns": {"evaluation_2d": {}}}}')
    shutil.copytree(finished / "networks", broken / "networks", dirs_exist_ok=True)
    with pytest.raises(InputError, match=r"evaluation\.json: not a file of results"):
        card_content(broken, "lab/office")


def test_a_card_without_metrics_says_so(finished: Path) -> None:
    content = card_content(finished, "lab/office", "apache-2.0")
    bare = model_card(replace(content, measurement=None, teachers=(), scenes=()))
    for part in ("license: apache-2.0", "Not measured.", "does not state the teachers", "names no scenes"):
        assert part in bare


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a /home/me/models/clip, b", "a clip, b"),
        ("clip: ~/models/clip", "clip: clip"),
        (r"C:\Users\me\clip", "clip"),
        ("owner/model and ./clip and 1/2", "owner/model and ./clip and 1/2"),
    ],
)
def test_paths_of_the_machine_are_cut(text: str, shown: str) -> None:
    assert without_local_paths(text) == shown


def test_names_are_escaped() -> None:
    assert escaped("a|b\n<b>[x](y)`") == r"a\|b &lt;b&gt;\[x\](y)\`"


def test_names_on_the_hub() -> None:
    assert [hub.divided(name) for name in ("lab/office", "lab/office/2d")] == [("lab/office", ""), ("lab/office", "2d")]
    assert [hub.is_hub_name(name) for name in ("lab/office", "lab/office/2d", "office")] == [True, False, False]
