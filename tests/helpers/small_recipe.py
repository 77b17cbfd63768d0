"""Overrides that make teachers label in a fraction of their time, and recipes train tiny networks."""

from __future__ import annotations

FAST_TEACHERS = ("--teachers.clip_options.scale=1.0", "--teachers.sam_options.points_per_side=4")
"""Few windows of CLIP and few prompts of SAM; these two take most of the time of a short run."""

NARROW = (
    "--networks.net_2d.width=8",
    "--networks.net_2d.aspp_channels=8",
    "--networks.net_3d.planes=[8, 8, 8, 8, 8, 8, 8, 8]",
    "--networks.backbone_weights=null",
    "--networks.backbone_weights_3d=null",
)
"""Networks that train in tenths of a second per step."""

SMALL = (
    "--labels.image_size=[48, 64]",
    *FAST_TEACHERS,
    *NARROW,
    "--train.epochs=4",
    "--train.checkpoint_seconds=0",
    "--switch.start_epoch=2",
)
