"""Overrides that make recipe `rooms` train tiny networks for four epochs."""

from __future__ import annotations

SMALL = (
    "--labels.image_size=[48, 64]",
    "--teachers.sam_options.points_per_side=4",
    "--networks.net_2d.width=8",
    "--networks.net_2d.aspp_channels=8",
    "--networks.net_3d.planes=[8, 8, 8, 8, 8, 8, 8, 8]",
    "--networks.backbone_weights=null",
    "--networks.backbone_weights_3d=null",
    "--train.epochs=4",
    "--train.checkpoint_seconds=0",
    "--switch.start_epoch=2",
)
