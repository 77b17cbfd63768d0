from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from labelfree.nets.point_features import point_features, stored_features, unpacked_features
from labelfree.scene import Scene

GREY = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
COLOURED = Scene("0", np.ones((256, 3), np.float32), (), colours=GREY)


def test_unpacked_features_have_the_bits_of_point_features() -> None:
    plain = replace(COLOURED, colours=None)
    for scene in (COLOURED, plain, replace(plain, intensity=np.arange(256, dtype=np.float32))):
        unpacked = unpacked_features(torch.from_numpy(stored_features(scene))).numpy()
        assert unpacked.dtype == np.float32
        assert (unpacked == point_features(scene)).all()


def test_colours_are_stored_as_bytes() -> None:
    assert stored_features(COLOURED).nbytes == 3 * 256
