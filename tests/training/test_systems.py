"""Every system of Table 1 on a tiny lab room: it trains four steps, resumes exactly, and is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.numpy import load_file

from helpers.small_recipe import SMALL
from labelfree import InputError, Scene, Vocabulary, open_scenes, recipe
from labelfree.config.run_config import RunConfig
from labelfree.evaluation.measure import measure
from labelfree.evaluation.method_results import comparison_table
from labelfree.files.metrics import METRICS
from labelfree.labelling.labellers import Labeller, RefinedLabels, TeacherLabels, load_networks
from labelfree.labelling.openscene import OpenSceneLabels
from labelfree.method.mask_vote import refine_labels
from labelfree.raster import resize_nearest
from labelfree.run import open_run
from labelfree.teachers.files import LabelFiles
from labelfree.teachers.opening import load_teachers
from labelfree.teachers.teachers import Teachers
from labelfree.training.checkpoint import MetricsLog
from labelfree.training.systems import train_system
from labelfree_lab.shapes.primitives import CLASS_NAMES

NAMES = Vocabulary.from_names(CLASS_NAMES)

SYSTEMS: dict[str, tuple[str, ...]] = {
    "cns": (),
    "maskclip": ("--system=clip", "--predict.views=average"),
    "clip+sam": ("--system=clip+sam",),
    "maskclip++": (
        "--labels.refine=false",
        "--switch.refine=false",
        "--labels.latent_target=none",
        "--switch.pool_2d=[net_2d]",
        "--switch.pool_3d=[net_3d]",
    ),
    "clip2scene": (
        "--labels.refine=false",
        "--switch.refine=false",
        "--labels.latent_target=clip",
        "--switch.pool_2d=[clip_2d, net_2d]",
        "--switch.pool_3d=[clip_3d, net_3d]",
    ),
    "3d alone": ("--train.modalities=[3d]", "--switch.pool_3d=[clip_3d, net_3d]"),
    "openscene": ("--system=openscene",),
    "clip+sam+segments": ("--system=clip+sam+segments",),
    "consensus labels": ("--system=consensus-labels", "--consensus.rounds=1"),
    "consensus": (
        "--system=consensus",
        "--consensus.rounds=1",
        "--consensus.relabel_at=[0.5]",
        "--predict.fuse=true",
        "--predict.fuse_turns=2",
    ),
    "post refine": ("--labels.refine=false", "--switch.refine=false", "--predict.refine=true"),
}
TRAINED = ("cns", "maskclip++", "clip2scene", "3d alone", "openscene", "consensus", "post refine")
WITHOUT_2D = {"3d alone", "openscene"}


def config_of(name: str) -> RunConfig:
    return recipe("rooms", *SMALL, *SYSTEMS[name])


@pytest.fixture(scope="module")
def scenes(room: Path) -> list[Scene]:
    return [open_scenes(room)[0]]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Teachers:
    return load_teachers(config_of("cns"), NAMES, tmp_path_factory.mktemp("cache"))


def trained(name: str, scenes: list[Scene], teachers: Teachers, out: Path) -> Labeller:
    fabric = Fabric(accelerator="cpu", devices=1)
    return train_system(open_run(scenes, NAMES, config_of(name), out, teachers, fabric).begin())


def saved(out: Path) -> dict[str, Mapping[str, np.ndarray]]:
    return {path.parent.name: load_file(path) for path in sorted((out / "networks").glob("*/model.safetensors"))}


class Killed(BaseException):
    """Stands in for the power going off."""


@pytest.mark.parametrize("name", TRAINED)
def test_trains_four_steps_and_resumes_exactly(
    name: str, scenes: list[Scene], teachers: Teachers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(name, scenes, teachers, tmp_path / "whole")
    write = MetricsLog.write

    def die(log: MetricsLog, record: dict[str, float | int | str]) -> None:
        if record["step"] == 2:
            raise Killed
        write(log, record)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "write", die)
        with pytest.raises(Killed):
            trained(name, scenes, teachers, tmp_path / "cut")
    trained(name, scenes, teachers, tmp_path / "cut")
    whole, cut = saved(tmp_path / "whole"), saved(tmp_path / "cut")
    assert set(whole) == ({"3d"} if name in WITHOUT_2D else {"2d", "3d"})
    for network, values in whole.items():
        assert all(np.array_equal(value, cut[network][key]) for key, value in values.items())
    metrics = tmp_path / "whole" / "training" / METRICS
    assert len(metrics.read_text().splitlines()) == 4
    assert metrics.read_text() == (tmp_path / "cut" / "training" / METRICS).read_text()


@pytest.mark.parametrize("name", SYSTEMS)
def test_is_evaluated_on_the_sides_it_has(name: str, scenes: list[Scene], teachers: Teachers, tmp_path: Path) -> None:
    labeller = trained(name, scenes, teachers, tmp_path)
    (result,) = measure(scenes, (labeller,), NAMES)
    assert (result.evaluation_2d is None) is (name in WITHOUT_2D)
    for _, evaluation in result.modalities():
        assert evaluation.unlabelled == 0
        assert 0 <= evaluation.miou <= 1
    assert ("–" in comparison_table((result,)).markdown()) is (name in WITHOUT_2D)
    if name == "3d alone":
        with pytest.raises(InputError, match=r"labels no images: train it with '2d' in train\.modalities"):
            labeller.pixels(scenes[0], scenes[0].frames[0])
        again = load_networks(tmp_path / "networks", torch.device("cpu"))
        assert again.modalities == ("3d",)
        assert np.array_equal(again.points(scenes[0]).labels, labeller.points(scenes[0]).labels)
        with pytest.raises(InputError, match=r"holds neither 2d/config\.json nor 3d/config\.json"):
            load_networks(tmp_path / "elsewhere", torch.device("cpu"))


def test_openscene_has_three_sides(scenes: list[Scene], teachers: Teachers, tmp_path: Path) -> None:
    ensemble = trained("openscene", scenes, teachers, tmp_path)
    assert isinstance(ensemble, OpenSceneLabels)
    scene = scenes[0]
    sides = [OpenSceneLabels(ensemble.teachers, ensemble.net_3d, side) for side in ("2d", "3d")]
    labels_2d, labels_3d = (side.points(scene).labels for side in sides)
    both = ensemble.points(scene).labels
    assert ((both == labels_2d) | (both == labels_3d)).all()
    assert [side.modalities for side in (*sides, ensemble)] == [("2d", "3d"), ("3d",), ("3d",)]
    frame = scene.frames[0]
    dense = ensemble.teachers.clip_labels(frame)
    assert (sides[0].pixels(scene, frame).labels == dense).all()
    for without_2d in (sides[1], ensemble):
        with pytest.raises(InputError, match="labels no images"):
            without_2d.pixels(scene, frame)


def test_fused_features_and_averaged_scores_name_alike(scenes: list[Scene], teachers: Teachers, tmp_path: Path) -> None:
    """Cosines are linear in features of unit length: without denoising both means have the same best class."""
    average = trained("maskclip", scenes, teachers, tmp_path / "a")
    ensemble = trained("openscene", scenes, teachers, tmp_path / "b")
    assert isinstance(ensemble, OpenSceneLabels)
    fused = OpenSceneLabels(ensemble.teachers, ensemble.net_3d, "2d").points(scenes[0]).labels
    assert (fused == average.points(scenes[0]).labels).mean() > 0.999


def test_post_refine_votes_over_finished_predictions(scenes: list[Scene], teachers: Teachers, tmp_path: Path) -> None:
    labeller = trained("post refine", scenes, teachers, tmp_path)
    assert isinstance(labeller, RefinedLabels)
    scene, frame = scenes[0], scenes[0].frames[1]
    plain, refined = (source.pixels(scene, frame).labels for source in (labeller.labeller, labeller))
    assert plain.shape == refined.shape == frame.size
    assert labeller.points(scene).labels.shape == (len(scene),)
    masks = resize_nearest(teachers.masks.mask_ids(frame, (48, 64)), frame.size)
    expected = refine_labels(torch.from_numpy(plain), torch.from_numpy(masks.astype(np.int64)), len(NAMES))
    assert (refined == expected.numpy()).all()


def test_averages_need_scores(teachers: Teachers, tmp_path: Path) -> None:
    files = replace(teachers, namer=LabelFiles(tmp_path, NAMES))
    with pytest.raises(InputError, match=r"which has no scores: set it to vote, or teachers\.clip to a CLIP model"):
        TeacherLabels(files, voted=False, views="average")
    with pytest.raises(InputError, match="have no scores"):
        TeacherLabels(teachers, voted=True, views="average")


def test_openscene_needs_features(scenes: list[Scene], teachers: Teachers, tmp_path: Path) -> None:
    files = replace(teachers, namer=LabelFiles(tmp_path, NAMES))
    with pytest.raises(InputError, match=r"has no dense features: set teachers\.clip"):
        trained("openscene", scenes, files, tmp_path / "out")


def test_key_smoothing_and_prompt_denoising_are_settings(
    scenes: list[Scene], teachers: Teachers, tmp_path: Path
) -> None:
    frame, size = scenes[0].frames[0], (48, 64)
    plain = teachers.namer.labels(frame, size)
    for option in ("--teachers.clip_options.key_smoothing=true", "--teachers.prompt_denoise=0.9"):
        config = recipe("rooms", *SMALL, option)
        namer = load_teachers(config, NAMES, tmp_path).namer
        assert namer.fingerprint() != teachers.namer.fingerprint()
        changed = namer.labels(frame, size)
        assert changed.shape == plain.shape
        assert (changed != plain).any()
        assert (namer.labels(frame, size) == changed).all()  # from the cache
