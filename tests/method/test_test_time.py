from __future__ import annotations

import math

import torch

from labelfree.method.extensions.test_time import moves


def test_the_first_move_is_the_identity() -> None:
    points = torch.randn(5, 3)
    torch.testing.assert_close(next(iter(moves(4, 0.1))).apply(points), points)


def test_moves_are_rigid_turn_about_the_vertical_and_shift_by_parts_of_a_voxel() -> None:
    points = torch.randn(6, 3)
    for index, move in enumerate(moves(8, 0.2)):
        moved = move.apply(points)
        torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(points, points), atol=1e-5, rtol=0)
        torch.testing.assert_close(moved[:, 2] - points[:, 2], torch.full((6,), move.shift_m[2]))
        # the slow twin: mirror, then turn point by point
        angle, (x, y, z) = 2 * math.pi * index / 8, points[0].tolist()
        x = -x if index % 2 else x
        expected = [x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle), z]
        torch.testing.assert_close(moved[0] - torch.tensor(move.shift_m), torch.tensor(expected), atol=1e-5, rtol=0)
        assert all(0 <= part < 0.2 for part in move.shift_m)
