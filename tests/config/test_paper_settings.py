"""Every constant of recipes `scannet` and `nuscenes` with its place in the paper, or in what fills the paper's gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

import pytest
from torch import nn

from helpers.toy_training import toy_networks
from labelfree import recipe
from labelfree.config.architectures import RESNETS, VARIANTS, MinkUNetShape, ResNetShape
from labelfree.config.consensus import ConsensusConfig
from labelfree.config.run_config import RunConfig
from labelfree.training.fit import optimiser_of
from labelfree.training.schedule import rate_factor

TABLE_2 = "section 4, Table 2, row of the full configuration"
EQ_6 = "section 3.2, Eq. 6"
DETAILS = "section 4, Implementation Details"
SUPPLEMENT = "supplement, section 1"
CLIP2SCENE = "not stated; CLIP2Scene's code"
MASKCLIP = "section 4, Implementation Details: MaskCLIP; values of MaskCLIP's code"
OFFICIAL_SAM = "section 3.2 uses SAM as published; segment-anything's defaults"
OPENAI = "section 3.1 uses CLIP as published; OpenAI's code"
MINKOWSKI = "section 4, Implementation Details: MinkowskiNet34; MinkowskiEngine's examples"
TORCHVISION = "section 4, Implementation Details: DeeplabV3; torchvision's values"
OURS = "not stated; our choice"
OFF = "not in the paper; off"

PAPER: dict[str, tuple[object, object, str]] = {
    # setting: (scannet, nuscenes, where it is stated)
    "system": ("cns", "cns", "section 3"),
    "teachers.clip": ("openai/clip-vit-base-patch16",) * 2 + (MASKCLIP + ", ViT-B/16",),
    "teachers.sam": ("facebook/sam-vit-huge",) * 2 + (OFFICIAL_SAM,),
    "teachers.clip_options.attention": ("value", "value", MASKCLIP),
    "teachers.clip_options.keep_residual": (True, True, MASKCLIP),
    "teachers.clip_options.input_size": (None, None, SUPPLEMENT + ", lines 10-12: the image size"),
    "teachers.clip_options.scale": (1.0, 1.0, SUPPLEMENT + ", lines 10-12: the image size"),
    "teachers.clip_options.window": (None, None, OFF),
    "teachers.clip_options.stride": (None, None, OFF),
    "teachers.clip_options.preprocessing": ("clip", "clip", OPENAI),
    "teachers.clip_options.exact_gelu": (False, False, OPENAI),
    "teachers.clip_options.key_smoothing": (False, False, OFF),
    "teachers.prompt_denoise": (0.0, 0.0, OFF),
    "teachers.sam_options.mode": ("exact", "exact", OFFICIAL_SAM),
    "teachers.sam_options.points_per_side": (32, 32, OFFICIAL_SAM),
    "teachers.sam_options.pred_iou_threshold": (0.88, 0.88, OFFICIAL_SAM),
    "teachers.sam_options.stability_threshold": (0.95, 0.95, OFFICIAL_SAM),
    "teachers.sam_options.stability_offset": (1.0, 1.0, OFFICIAL_SAM),
    "teachers.sam_options.box_nms_threshold": (0.7, 0.7, OFFICIAL_SAM),
    "teachers.sam_options.mask_nms_threshold": (0.0, 0.0, OFFICIAL_SAM),
    "teachers.sam_options.multimask": (True, True, OFFICIAL_SAM),
    "teachers.sam_options.min_area_fraction": (0.0, 0.0, OFFICIAL_SAM),
    "labels.image_size": ((240, 320), (224, 416), SUPPLEMENT + ", lines 10-12"),
    "labels.refine": (True, True, "section 3.2, Eq. 4"),
    "labels.soft_vote": (False, False, "section 3.2, Eq. 4 counts labels"),
    "labels.latent_target": ("sam", "sam", "section 3.2, Eq. 7"),
    "labels.latent_width": (64, 64, SUPPLEMENT + ", line 14: K_f"),
    "pairing.rule": ("rgbd", "lidar", "section 3.2, Eq. 2; section 4, Datasets"),
    "pairing.tolerance_m": (0.05, 0.05, CLIP2SCENE),
    "pairing.relative": (None, None, CLIP2SCENE + ": an absolute tolerance"),
    "pairing.z_min_m": (1.0, 1.0, "not stated; nuScenes' devkit, as in CLIP2Scene's code"),
    "pairing.border_px": (1, 1, "not stated; nuScenes' devkit, as in CLIP2Scene's code"),
    "pairing.z_buffer": (False, False, OFF),
    "networks.net_2d.backbone": ("resnet50", "resnet50", TORCHVISION),
    "networks.net_2d.width": (64, 64, TORCHVISION),
    "networks.net_2d.output_stride": (8, 8, TORCHVISION),
    "networks.net_2d.aspp_channels": (256, 256, TORCHVISION),
    "networks.net_2d.dropout": (0.5, 0.5, TORCHVISION),
    "networks.net_2d.text_width": (512, 512, SUPPLEMENT + ", line 16"),
    "networks.net_2d.latent_width": (64, 64, SUPPLEMENT + ", line 14: K_f"),
    "networks.net_3d.variant": ("MinkUNet34C", "MinkUNet34C", MINKOWSKI),
    "networks.net_3d.planes": (None, None, MINKOWSKI),
    "networks.net_3d.first_width": (32, 32, MINKOWSKI),
    "networks.net_3d.first_kernel": (5, 5, MINKOWSKI),
    "networks.net_3d.voxel_m": (0.05, 0.1, CLIP2SCENE),
    "networks.net_3d.texture": (False, False, OFF),
    "networks.net_3d.text_width": (512, 512, SUPPLEMENT + ", line 16"),
    "networks.net_3d.latent_width": (64, 64, SUPPLEMENT + ", line 14: K_f"),
    "networks.backbone_weights": ("timm/resnet50.tv_in1k",) * 2 + (SUPPLEMENT + ", line 17: ImageNet",),
    "networks.backbone_weights_3d": (None, None, "section 4 names a start for 2D only"),
    "train.epochs": (30, 20, DETAILS),
    "train.scenes_per_batch": (8, 4, CLIP2SCENE),
    "train.images_per_scene": (16, 6, DETAILS + "; Table 2, Image Numbers"),
    "train.images_factor": (1.0, 1.0, TABLE_2),
    "train.modalities": (("2d", "3d"), ("2d", "3d"), "section 3.2, Eq. 5"),
    "train.optimiser": ("sgd", "sgd", CLIP2SCENE),
    "train.learning_rate": (0.1, 0.1, SUPPLEMENT + ", lines 11 and 13"),
    "train.learning_rate_3d": (None, None, SUPPLEMENT + ", lines 11 and 13: one rate"),
    "train.backbone_rate": (1.0, 1.0, SUPPLEMENT + ", lines 11 and 13: one rate"),
    "train.momentum": (0.9, 0.9, CLIP2SCENE),
    "train.dampening": (0.1, 0.1, CLIP2SCENE),
    "train.weight_decay": (1e-4, 1e-4, CLIP2SCENE),
    "train.sweeps": (0, 0, OFF),
    "train.warmup_epochs": (0, 0, OFF),
    "train.average_decay": (0.0, 0.0, OFF),
    "train.class_balance": (0.0, 0.0, "section 3.2, Eq. 5 and 6 have no weights"),
    "train.latent_weight": (1.0, 1.0, "section 3.2, Eq. 7 has no weight"),
    "train.sync_norm": (True, True, OURS),
    "switch.start_epoch": (10, 10, DETAILS + ": after ten epochs"),
    "switch.pool_2d": (("clip_2d", "clip_3d", "net_2d", "net_3d"),) * 2 + (EQ_6,),
    "switch.pool_3d": (("clip_2d", "clip_3d", "net_2d", "net_3d"),) * 2 + (EQ_6,),
    "switch.granularity": ("batch", "batch", CLIP2SCENE),
    "switch.refine": (True, True, "section 3.2: self-predicted labels are refined by Eq. 4"),
    "switch.align": (False, False, OFF),
    "switch.pick": ("argmax", "argmax", "section 3.2: self-predicted labels"),
    "augment.crop_area": ((0.3, 1.0), (0.3, 1.0), DETAILS + ": random crop; range is our choice"),
    "augment.crop_aspect": ((0.8, 1.25), (0.8, 1.25), DETAILS + ": random resize; range is our choice"),
    "augment.flip_images": (True, True, DETAILS),
    "augment.rotate_points": (True, True, DETAILS),
    "augment.flip_points": (True, True, DETAILS),
    "predict.refine": (False, False, TABLE_2),
    "predict.views": ("vote", "vote", OURS),
    "predict.unseen": ("nearest", "nearest", OURS),
    "predict.fuse": (False, False, OFF),
}

WITHOUT_INFLUENCE = {
    *("seed", "memory_gb", "labels.keep_frames", "train.workers", "train.tensorboard", "train.checkpoint_seconds"),
    *("teachers.clip_kind", "teachers.sam_kind", "teachers.clip_options.tokenizer", "teachers.clip_options.precision"),
    *("teachers.clip_options.windows_per_batch", "teachers.sam_options.points_per_batch"),
    *("teachers.sam_options.precision", "train.precision"),
    "teachers.clip_options.gaussian_std",  # of an attention that the paper does not use
    *("networks.net_2d.image_size", "networks.net_3d.in_channels"),  # training sets both
    *("predict.fuse_turns", "predict.fuse_images", "predict.fuse_segments"),  # of predict.fuse
    *(f"consensus.{field.name}" for field in fields(ConsensusConfig)),  # of a system of our own
}
"""Settings of the machine and the run, and settings that the two recipes do not use."""


def leaves(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@pytest.mark.parametrize(("name", "column"), [("scannet", 0), ("nuscenes", 1)])
def test_every_setting_has_the_value_of_the_paper(name: str, column: int) -> None:
    found = dict(leaves(asdict(recipe(name))))
    assert found.keys() == PAPER.keys() | WITHOUT_INFLUENCE, "State each new setting here, with its place in the paper."
    assert {setting: found[setting] for setting in PAPER} == {key: row[column] for key, row in PAPER.items()}


def test_the_defaults_are_those_of_scannet() -> None:
    """`nuscenes` and users' recipes rely on them for every setting that they leave out."""
    found = dict(leaves(asdict(RunConfig())))
    stated = {"networks.backbone_weights", "pairing.rule"}  # by the recipes only
    assert {key: found[key] for key in PAPER if key not in stated} == {
        key: row[0] for key, row in PAPER.items() if key not in stated
    }


def test_names_of_networks_stand_for_the_published_shapes() -> None:
    assert RESNETS["resnet50"] == ResNetShape((3, 4, 6, 3), bottleneck=True)
    assert VARIANTS["MinkUNet34C"] == MinkUNetShape((2, 3, 4, 6, 2, 2, 2, 2), (32, 64, 128, 256, 256, 128, 96, 96))


@pytest.mark.parametrize("name", ["scannet", "nuscenes"])
def test_the_optimiser_has_the_settings(name: str) -> None:
    networks, train = toy_networks(), recipe(name).train
    optimiser = optimiser_of([(networks.net_2d, train.rate_of("2d")), (networks.net_3d, train.rate_of("3d"))], train)
    assert type(optimiser).__name__ == "SGD"
    for group in optimiser.param_groups:
        assert (group["lr"], group["momentum"], group["dampening"]) == (0.1, 0.9, 0.1)
        assert (group["weight_decay"], group["nesterov"]) == (1e-4, False)
    held = [weight for group in optimiser.param_groups for weight in group["params"]]
    assert len(held) == sum(1 for weight in networks.parameters() if isinstance(weight, nn.Parameter))


@pytest.mark.parametrize("name", ["scannet", "nuscenes"])
def test_the_learning_rate_falls_by_a_cosine_per_epoch(name: str) -> None:
    train = recipe(name).train
    assert [rate_factor(train, epoch) for epoch in (0, train.epochs // 2, train.epochs)] == pytest.approx([1, 0.5, 0])
