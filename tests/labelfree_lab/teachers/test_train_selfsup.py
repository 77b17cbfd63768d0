"""The 2D start without class names: batches without labels, training that resumes, weights that load."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from labelfree import Vocabulary
from labelfree.config.reading import read_settings
from labelfree.config.recipe_files import recipe_path
from labelfree.errors import InputError
from labelfree.method.latent_consistency import random_orthogonal
from labelfree.nets.segmenters import Segmenter2D
from labelfree_lab.teachers import train_selfsup
from labelfree_lab.teachers.corpus import write_corpus
from labelfree_lab.teachers.crops import Windows
from labelfree_lab.teachers.scans import CELL_PX, CONTEXT, Scan, read_scans
from labelfree_lab.teachers.train_backbone import SIDE
from labelfree_lab.teachers.train_selfsup import (
    GRID,
    Course,
    Settings,
    cut_context,
    draw_batch,
    main,
    new_context_net,
    random_windows,
    scan_paths,
    train,
    train_step,
)
from labelfree_lab.teachers.worlds import ROOMS

SETTINGS = Settings(steps=4, batch=6, warm_up=2, clusters=8, probe_every=2)


@pytest.fixture(scope="module")
def scan() -> Scan:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 96, 128, 3), dtype=np.uint8)
    context = rng.normal(size=(5, 96 // CELL_PX, 128 // CELL_PX, CONTEXT)).astype(np.float16)
    context[rng.random(context.shape[:3]) < 0.2] = np.nan
    return Scan(images, context)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms") / "corpus"
    write_corpus(folder, 2, 1, 1, ROOMS.tuning_seeds)
    return folder


def copied(corpus: Path, folder: Path) -> Path:
    shutil.copytree(corpus, folder)
    return folder


def test_batches_are_bit_identical_without_the_corpus_class_maps(corpus: Path, tmp_path: Path) -> None:
    scrambled, deleted = copied(corpus, tmp_path / "scrambled"), copied(corpus, tmp_path / "deleted")
    for name in ("classes", "instances"):
        array = np.load(scrambled / f"{name}.npy")
        np.save(scrambled / f"{name}.npy", np.random.default_rng(0).integers(0, 9, array.shape).astype(array.dtype))
        (deleted / f"{name}.npy").unlink()
    batches = []
    for folder in (corpus, scrambled, deleted):
        scans = read_scans(scan_paths(folder, tmp_path / "work" / folder.name, rooms=2, views=2, processes=1))
        model = new_context_net(scans, SETTINGS)
        pixels, context = draw_batch(scans, SETTINGS, 3)
        batches.append((pixels, model.clusters(context), model.clusters.centres))
    for other in batches[1:]:
        assert all(torch.equal(a, b) for a, b in zip(batches[0], other))
    assert (batches[0][1] >= 0).float().mean() > 0.5


def test_windows_lie_in_the_images_and_reach_every_side() -> None:
    windows = random_windows(np.random.default_rng(0), (7, 96, 128), 2000, (48, 200))
    assert set(windows.picture) == set(range(7))
    assert windows.height.min() == 48
    assert windows.height.max() == 96
    for start, extent in ((windows.top, 96), (windows.left, 128)):
        assert start.min() == 0
        assert (start + windows.height).max() == extent


def test_contexts_are_cut_where_the_pixels_are() -> None:
    """The context names its own cell, so that each value tells where it was read."""
    row, column = np.meshgrid(np.arange(24), np.arange(32), indexing="ij")
    context = np.stack([row, column], -1)[None].repeat(3, 0).astype(np.float16)
    windows = Windows(*(np.asarray([value, value]) for value in (2, 8, 20, 64, 64)))
    cut = cut_context(context, windows, np.asarray([False, True]))
    for i in range(GRID):
        for j in range(GRID):
            assert cut[0, i, j].tolist() == [(8 + 8 * i + 4) // CELL_PX, (20 + 8 * j + 4) // CELL_PX]
    assert torch.equal(cut[1], cut[0].flip(1))


def test_a_draw_depends_on_seed_and_step_alone(scan: Scan) -> None:
    first, again, other = (draw_batch(scan, SETTINGS, step) for step in (5, 5, 6))
    assert first[0].shape == (6, 3, SIDE, SIDE)
    assert first[1].shape == (6, GRID, GRID, CONTEXT)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1].nan_to_num(), again[1].nan_to_num())
    assert not torch.equal(first[0], other[0])


def test_two_steps_reach_every_weight(scan: Scan) -> None:
    model = new_context_net(scan, SETTINGS)
    optimiser = torch.optim.AdamW(model.parameters())
    for step in range(2):
        assert np.isfinite(train_step(model, optimiser, draw_batch(scan, SETTINGS, step), SETTINGS, step))
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


@pytest.mark.usefixtures("one_thread")
def test_an_interrupted_training_resumes_exactly(scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str) -> train_selfsup.ContextNet:
        model = new_context_net(scan, SETTINGS)
        train(model, Course(scan, scan, SETTINGS, tmp_path / name, tmp_path / name / "out"))
        return model

    def interrupted(whole: Scan, settings: Settings, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == 3:
            raise KeyboardInterrupt
        return draw_batch(whole, settings, step)

    whole = run("whole")
    with monkeypatch.context() as patch:
        patch.setattr(train_selfsup, "draw_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("parts")
    resumed = run("parts")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values()))


def test_the_command_ships_a_start_for_the_labs_2d_network(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_selfsup, "Settings", _Small)
    monkeypatch.setattr(train_selfsup, "TUNING", 1)
    given = ["--corpus", corpus, "--tuning", corpus, "--out", tmp_path / "out", "--work", tmp_path / "work"]
    main([*map(str, given), "--steps", "1", "--rooms", "2", "--views", "1", "--threads", "1"])
    networks = read_settings(recipe_path("rooms")).networks
    text = random_orthogonal(8, 2).T.contiguous()
    net = Segmenter2D(replace(networks.net_2d, text_width=8), text, Vocabulary(("a", "b")))
    name = "layer4.1.conv2.weight"
    before = net.backbone().state_dict()[name].clone()
    assert net.load_backbone(tmp_path / "out") == []
    assert not torch.equal(net.backbone().state_dict()[name], before)
    assert (tmp_path / "out" / "training.jsonl").is_file()


@dataclass(frozen=True)
class _Small(Settings):
    batch: int = 4
    clusters: int = 8


def test_corpora_of_two_worlds_and_empty_requests_are_refused(corpus: Path, tmp_path: Path) -> None:
    streets = copied(corpus, tmp_path / "streets")
    plan = (streets / "corpus.json").read_text().replace('"rooms",', '"streets",')
    (streets / "corpus.json").write_text(plan)
    arguments = ["--corpus", str(corpus), "--work", str(tmp_path / "work"), "--threads", "1"]
    with pytest.raises(InputError, match="shows streets, but"):
        main([*arguments, "--tuning", str(streets)])
    with pytest.raises(InputError, match="--rooms is 0"):
        main([*arguments, "--tuning", str(corpus), "--rooms", "0"])
    with pytest.raises(InputError, match=r"holds no corpus\.json"):
        main([*arguments, "--tuning", str(tmp_path)])
