from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from labelfree.config.networks import Segmenter2DConfig, Segmenter3DConfig
from labelfree.errors import InputError
from labelfree.nets.resnet import ResNet
from labelfree.nets.segmenters import Segmenter2D, Segmenter3D, latent_at_pixels, voxel_features
from labelfree.nets.sparse.voxels import Voxels, voxelise
from labelfree.vocabulary import Vocabulary
from labelfree.weights.stored import write_model

CLASSES = Vocabulary(("wall", "floor", "chair"), colours=((1, 2, 3), (4, 5, 6), (7, 8, 9)))
CONFIG_2D = Segmenter2DConfig("resnet18", width=8, aspp_channels=8, text_width=16, latent_width=6)
CONFIG_3D = Segmenter3DConfig(
    "MinkUNet14A", planes=(4, 4, 4, 4, 4, 4, 4, 4), first_width=4, voxel_m=0.2, text_width=16, latent_width=6
)


def text(classes: int = 3) -> Tensor:
    return functional.normalize(torch.randn(classes, 16, generator=torch.Generator().manual_seed(5)), dim=1)


def net_2d() -> Segmenter2D:
    torch.manual_seed(0)
    return Segmenter2D(CONFIG_2D, text(), CLASSES)


def net_3d() -> Segmenter3D:
    torch.manual_seed(0)
    return Segmenter3D(CONFIG_3D, text(), CLASSES)


def cloud() -> Voxels:
    generator = torch.Generator().manual_seed(2)
    points, features = torch.rand(300, 3, generator=generator), torch.rand(300, 3, generator=generator)
    return voxelise(points, 0.2, torch.arange(300) // 150, features)


def test_2d_output_is_text_times_semantic_features_upsampled() -> None:
    network, images = net_2d().eval(), torch.rand(2, 3, 40, 56)
    out = network(images)
    semantic = network.semantic_features(images)
    assert semantic.shape == (2, 16, 5, 7)
    coarse = torch.einsum("beyx,ke->bkyx", semantic, text())
    expected = functional.interpolate(coarse, size=(40, 56), mode="bilinear", align_corners=False)
    torch.testing.assert_close(out.logits, expected, atol=1e-5, rtol=1e-4)
    assert out.latent.shape == (2, 6, 5, 7)


def test_3d_output_is_text_times_semantic_features_per_voxel() -> None:
    network, voxels = net_3d().eval(), cloud()
    out = network(voxels)
    torch.testing.assert_close(out.logits, network.semantic_features(voxels) @ text().T, atol=1e-5, rtol=1e-4)
    assert out.latent.shape == (len(voxels), 6)
    assert out.logits[voxels.inverse].shape == (300, 3)


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 5, 1, 1), (1, 5, 1, 4)])
def test_latent_at_pixels_equals_upsampling_all_of_it(shape: tuple[int, int, int, int]) -> None:
    torch.manual_seed(0)
    latent = torch.rand(shape, requires_grad=True)
    size = (shape[2] * 8, shape[3] * 8 - 3)
    image, row, column = (torch.randint(0, high, (200,)) for high in (shape[0], *size))
    found = latent_at_pixels(latent, image, row, column, size)
    whole = functional.interpolate(latent, size=size, mode="bilinear", align_corners=False)
    expected = whole.permute(0, 2, 3, 1)[image, row, column]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    direction = torch.rand_like(found)
    mine, theirs = (torch.autograd.grad(out, latent, direction)[0] for out in (found, expected))
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-5)


def test_text_embeddings_are_frozen_and_everything_else_learns() -> None:
    for network, data in ((net_2d(), torch.rand(2, 3, 32, 32)), (net_3d(), cloud())):
        out = network(data)
        (out.logits.square().mean() + out.latent.square().mean()).backward()
        assert not network.text_embeddings.requires_grad
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_autocast_stays_close() -> None:
    for network, data in ((net_2d().eval(), torch.rand(1, 3, 32, 32)), (net_3d().eval(), cloud())):
        with torch.no_grad():
            exact = network(data).logits
            with torch.autocast("cpu", dtype=torch.bfloat16):
                rough = network(data).logits
        assert float((exact - rough.float()).abs().max()) < 0.05 * float(exact.abs().max())


@pytest.mark.parametrize("make", [net_2d, net_3d])
def test_saved_networks_load_with_their_classes(make: object, tmp_path: Path) -> None:
    network = net_2d() if make is net_2d else net_3d()
    data = torch.rand(1, 3, 32, 32) if isinstance(network, Segmenter2D) else cloud()
    network(data)  # moves the running statistics
    network.save_pretrained(tmp_path)
    loaded = type(network).from_pretrained(str(tmp_path))
    assert loaded.vocabulary == CLASSES
    assert loaded.config == network.config
    assert not loaded.training
    assert torch.equal(loaded(data).logits, network.eval()(data).logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_changed_vocabulary_changes_the_classes(tmp_path: Path) -> None:
    network = net_3d()
    network.set_vocabulary(text(2), Vocabulary(("table", "lamp")))
    assert network(cloud()).logits.shape[1] == 2
    network.save_pretrained(tmp_path)
    assert Segmenter3D.from_pretrained(tmp_path).vocabulary.names == ("table", "lamp")
    with pytest.raises(InputError, match=r"\(3, 16\), expected \(2, 16\)"):
        network.set_vocabulary(text(3), Vocabulary(("table", "lamp")))


def test_broken_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        Segmenter2D.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"config\.json"):
        Segmenter2D.from_pretrained(tmp_path)
    net_3d().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="segmenter_2d"):
        Segmenter2D.from_pretrained(tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    description["config"]["first_width"] = 8
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"config\.json: damaged or changed since it was written"):
        Segmenter3D.from_pretrained(tmp_path)
    del description["sha256"]  # as in files by other programs
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="do not fit"):
        Segmenter3D.from_pretrained(tmp_path)
    description["config"]["colour"] = 8
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="colour"):
        Segmenter3D.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="safetensors"):
        Segmenter3D.from_pretrained(tmp_path)


def test_backbone_weights_from_a_folder(tmp_path: Path) -> None:
    published = ResNet("resnet18", 8).state_dict() | {"fc.weight": torch.rand(3, 3)}
    write_model(tmp_path, {}, published)
    network = net_2d()
    assert network.load_backbone(tmp_path) == ["fc.weight"]
    assert network.load_backbone(tmp_path / "model.safetensors") == ["fc.weight"]
    assert torch.equal(network.network.backbone.state_dict()["conv1.weight"], published["conv1.weight"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Segmenter2DConfig(backbone="vgg"), "backbone"),
        (lambda: Segmenter2DConfig(output_stride=4), "output_stride"),
        (lambda: Segmenter2DConfig(width=0), "width"),
        (lambda: Segmenter2DConfig(width=12), "multiple of 8"),
        (lambda: Segmenter2DConfig(dropout=1.0), "dropout"),
        (lambda: Segmenter3DConfig(variant="MinkUNet99"), "variant"),
        (lambda: Segmenter3DConfig(planes=(1, 2)), "planes"),
        (lambda: Segmenter3DConfig(voxel_m=-1.0), "voxel_m"),
    ],
)
def test_bad_configuration_is_named(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=words):
        make()


def test_wrong_point_features_are_named() -> None:
    voxels = cloud()
    with pytest.raises(InputError, match="intensity"):
        net_3d()(Voxels(voxels.coords, voxels.inverse, voxels.features[:, :1], voxels.spread[:, :1]))


def test_texture_is_read_where_it_is_asked_for() -> None:
    torch.manual_seed(0)
    network = Segmenter3D(replace(CONFIG_3D, texture=True), text(), CLASSES).eval()
    voxels = cloud()
    flat = replace(voxels, spread=torch.zeros_like(voxels.spread))
    assert voxel_features(voxels, network.config).shape == (len(voxels), 6)
    assert not torch.equal(network(voxels).logits, network(flat).logits)
    assert torch.equal(net_3d().eval()(voxels).logits, net_3d().eval()(flat).logits)
