"""A key frame as a scene is what nuScenes' reader makes of its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labelfree.data.collection import open_scenes
from labelfree.data.layout import ReadOptions
from labelfree.nets.point_features import point_features
from labelfree_lab.layouts.nuscenes import write_nuscenes
from labelfree_lab.streets.route import DriveSize, street_drive
from labelfree_lab.streets.scene import key_frame_scene

SIZE = DriveSize(key_frames=2, image_size=(42, 78), azimuths=90, sweeps_between=0)


def test_it_is_what_the_reader_returns(tmp_path: Path) -> None:
    write_nuscenes(tmp_path / "nuscenes", 5, 2, SIZE)
    read = open_scenes(tmp_path / "nuscenes", options=ReadOptions(split="train"))[1]
    drive = street_drive(5, 0, SIZE)
    made = key_frame_scene(read.name, drive.rig, list(drive)[1])
    np.testing.assert_allclose(made.points_world, read.points_world, atol=1e-4)
    assert made.labels is not None
    assert read.labels is not None
    assert np.array_equal(made.labels, read.labels)
    assert np.array_equal(point_features(made), point_features(read))
    assert [frame.name for frame in made.frames] == [frame.name for frame in read.frames]
    for ours, theirs in zip(made.frames, read.frames):
        np.testing.assert_allclose(ours.world_to_camera, theirs.world_to_camera, atol=1e-6)
        np.testing.assert_allclose(ours.intrinsics, theirs.intrinsics)
        assert ours.size == theirs.size
        difference = ours.load_image().astype(int) - theirs.load_image()
        assert np.abs(difference).mean() < 8  # JPEG
