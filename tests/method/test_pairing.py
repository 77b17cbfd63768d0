from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from labelfree.method.pairing import CELL_PX, HIDDEN_BEYOND, Pairs, pair_lidar, pair_rgbd, project

EYE = torch.eye(4, dtype=torch.float64)
K = torch.tensor([[10.0, 0, 4], [0, 10, 3], [0, 0, 1]], dtype=torch.float64)


def random_view(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    pose = np.eye(4)
    pose[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    pose[:3, 3] = rng.normal(size=3) * 0.3
    return torch.from_numpy(rng.uniform(-3, 3, (2000, 3))), torch.from_numpy(pose)


def slow_pixels(
    points: torch.Tensor, pose: torch.Tensor, intrinsics: torch.Tensor
) -> Iterator[tuple[int, float, float, float]]:
    rows = pose.tolist()
    for index, point in enumerate(points.tolist()):
        x, y, z = (sum(rows[r][c] * p for c, p in enumerate([*point, 1.0])) for r in range(3))
        if z != 0:
            u = (intrinsics[0, 0].item() * x + intrinsics[0, 1].item() * y) / z + intrinsics[0, 2].item()
            v = intrinsics[1, 1].item() * y / z + intrinsics[1, 2].item()
            yield index, u, v, z


def slow_rgbd(
    points: torch.Tensor,
    pose: torch.Tensor,
    intrinsics: torch.Tensor,
    depth: torch.Tensor,
    tolerance: float,
    relative: float | None,
) -> list[tuple[int, int, int]]:
    pairs = []
    for index, u, v, z in slow_pixels(points, pose, intrinsics):
        row, column = math.floor(v), math.floor(u)
        if z > 0 and 0 <= row < depth.shape[0] and 0 <= column < depth.shape[1]:
            d = depth[row, column].item()
            if d > 0 and abs(d - z) <= (tolerance if relative is None else relative * d):
                pairs.append((index, row, column))
    return pairs


def slow_lidar(
    points: torch.Tensor,
    pose: torch.Tensor,
    intrinsics: torch.Tensor,
    size: tuple[int, int],
    z_min: float,
    border: float,
    z_buffer: bool,
) -> list[tuple[int, int, int]]:
    seen = [
        (index, u, v, z)
        for index, u, v, z in slow_pixels(points, pose, intrinsics)
        if z > z_min and border < u < size[1] - border and border < v < size[0] - border
    ]

    def hidden(u: float, v: float, z: float) -> bool:
        cell = (u // CELL_PX, v // CELL_PX)
        return any((a // CELL_PX, b // CELL_PX) == cell and z > depth * HIDDEN_BEYOND for _, a, b, depth in seen)

    return [(i, math.floor(v), math.floor(u)) for i, u, v, z in seen if not (z_buffer and hidden(u, v, z))]


def as_list(pairs: Pairs) -> list[tuple[int, int, int]]:
    return list(zip(pairs.point.tolist(), pairs.row.tolist(), pairs.column.tolist()))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("relative", [None, 0.25])
def test_rgbd_pairs_match_the_loop(seed: int, relative: float | None) -> None:
    points, pose = random_view(seed)
    depth = torch.from_numpy(np.random.default_rng(seed).uniform(0.5, 3, (6, 8)))
    depth[::2, ::3] = 0
    expected = slow_rgbd(points, pose, K, depth, 0.5, relative)
    assert len(expected) > 5
    assert as_list(pair_rgbd(points, pose, K, depth, 0.5, relative)) == expected


@pytest.mark.parametrize("z_buffer", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_lidar_pairs_match_the_loop(seed: int, z_buffer: bool) -> None:
    points, pose = random_view(seed)
    intrinsics = K * torch.tensor([[3.0], [3], [1]])
    expected = slow_lidar(points, pose, intrinsics, (18, 24), 1.0, 1, z_buffer)
    assert len(expected) > 5
    assert as_list(pair_lidar(points, pose, intrinsics, (18, 24), z_buffer=z_buffer)) == expected


def test_the_z_buffer_hides_points_behind() -> None:
    points = torch.tensor([[0.0, 0, 2], [0.0, 0, 2.1], [0.0, 0, 4], [3.0, 0, 4]])
    assert pair_lidar(points, EYE, K, (6, 16), z_buffer=True).point.tolist() == [0, 1, 3]
    assert pair_lidar(points, EYE, K, (6, 16)).point.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("point", "depth", "paired"),
    [
        ((0.0, 0.0, 2.0), 2.05, True),
        ((0.0, 0.0, 2.0), 2.0501, False),
        ((0.0, 0.0, 2.0), 0.0, False),
        ((0.0, 0.0, -2.0), 2.0, False),
        ((0.0, 0.0, 0.0), 2.0, False),
        ((-0.8, -0.6, 2.0), 2.0, True),  # u = 0, v = 0: the upper left corner belongs to the picture
        ((0.8, 0.0, 2.0), 2.0, False),  # u = 8 = W: the right edge does not
    ],
)
def test_rgbd_rules(point: tuple[float, float, float], depth: float, paired: bool) -> None:
    pairs = pair_rgbd(torch.tensor([point], dtype=torch.float64), EYE, K, torch.full((6, 8), depth).double())
    assert len(pairs) == int(paired)


def test_pixel_centres_are_at_half() -> None:
    """The ray through the centre of pixel (row, column) pairs with that pixel."""
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(8), indexing="ij")
    z = 1.5
    x = (columns.double() + 0.5 - K[0, 2]) / K[0, 0] * z
    y = (rows.double() + 0.5 - K[1, 2]) / K[1, 1] * z
    points = torch.stack([x, y, torch.full_like(x, z)], dim=-1).reshape(-1, 3)
    pairs = pair_rgbd(points, EYE, K, torch.full((6, 8), z))
    assert pairs.row.tolist() == rows.reshape(-1).tolist()
    assert pairs.column.tolist() == columns.reshape(-1).tolist()


def test_projection_is_undone_by_back_projection() -> None:
    points, pose = random_view(3)
    uv, z = project(points, pose, K)
    rays = torch.cat([uv, torch.ones(len(uv), 1)], dim=1) @ torch.linalg.inv(K).T
    camera = torch.cat([rays * z[:, None], torch.ones(len(uv), 1)], dim=1)
    back = (camera @ torch.linalg.inv(pose).T)[:, :3]
    torch.testing.assert_close(back, points)


def test_a_point_in_the_camera_plane_has_no_pixel() -> None:
    uv, z = project(torch.zeros(1, 3), EYE, K)
    assert uv.isnan().all()
    assert z.tolist() == [0]


def plain_project(points: torch.Tensor, pose: torch.Tensor, intrinsics: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Project all points in double precision, row by row, without leaving any out first."""
    camera = points.double() @ pose[:3, :3].T + pose[:3, 3]
    z = camera[:, 2]
    u, v = ((camera @ intrinsics.T)[:, :2] / torch.where(z == 0, torch.nan, z)[:, None]).unbind(1)
    return u, v, z


def plain_rgbd(
    points: torch.Tensor, pose: torch.Tensor, intrinsics: torch.Tensor, depth: torch.Tensor, tolerance: float
) -> Pairs:
    u, v, z = plain_project(points, pose, intrinsics)
    height, width = depth.shape
    seen = torch.nonzero((z > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height))[:, 0]
    row, column = v[seen].floor().long(), u[seen].floor().long()
    at_pixel = depth.double()[row, column]
    keep = (at_pixel > 0) & ((at_pixel - z[seen]).abs() <= tolerance)
    return Pairs(seen[keep], row[keep], column[keep])


def plain_lidar(
    points: torch.Tensor, pose: torch.Tensor, intrinsics: torch.Tensor, size: tuple[int, int], border: float
) -> Pairs:
    u, v, z = plain_project(points, pose, intrinsics)
    inside = (u > border) & (v > border) & (u < size[1] - border) & (v < size[0] - border)
    seen = torch.nonzero((z > 1.0) & inside)[:, 0]
    return Pairs(seen, v[seen].floor().long(), u[seen].floor().long())


def assert_same(found: Pairs, expected: Pairs) -> None:
    for name in ("point", "row", "column"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reach_m", [1e-3, 3.0, 1e3, 1e6])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_leaving_points_out_first_loses_no_pair(seed: int, reach_m: float, dtype: torch.dtype) -> None:
    """Clouds from a millimetre to a thousand kilometres, most of whose points lie around the sides of the view."""
    random, (_, pose) = np.random.default_rng(seed), random_view(seed)
    intrinsics = torch.tensor([[30.0, 0.5, 12], [0, 31, 9], [0, 0, 1]], dtype=torch.float64)
    z = random.uniform(-0.1, 1, 8_000) * reach_m
    u = random.choice([0.0, 1, 23, 24], 8_000) + random.normal(0, 1e-6, 8_000)
    v = random.choice([0.0, 1, 9, 17, 18], 8_000) + random.normal(0, 1e-6, 8_000)
    u[::4], v[::3] = random.uniform(-30, 54, 2000), random.uniform(-30, 48, len(v[::3]))
    rays = torch.linalg.inv(intrinsics) @ torch.from_numpy(np.stack([u, v, np.ones_like(u)]))
    points = ((rays * torch.from_numpy(z)).T - pose[:3, 3]) @ pose[:3, :3]
    points = torch.cat([points, -pose[:3, 3] @ pose[:3, :3] + torch.zeros(1, 3)]).to(dtype)  # the camera's own place
    depth = torch.from_numpy(random.uniform(0, 1, (18, 24)) * reach_m).float()
    expected = plain_rgbd(points, pose, intrinsics, depth, 0.3 * reach_m)
    assert len(expected) > 200
    assert_same(pair_rgbd(points, pose, intrinsics, depth, 0.3 * reach_m), expected)
    for border in (1, 3):
        lidar = plain_lidar(points, pose, intrinsics, (18, 24), border)
        assert (len(lidar) > 20) is (reach_m > 1)
        assert_same(pair_lidar(points, pose, intrinsics, (18, 24), border_px=border), lidar)


def test_points_in_no_view_have_no_pairs() -> None:
    behind = torch.tensor([[0.0, 0, -2], [9.0, 0, 1], [0.0, 0, 0]])
    for points in (behind, behind[:0], torch.zeros(5, 3)):
        assert len(pair_rgbd(points, EYE, K, torch.full((6, 8), 2.0))) == 0
        assert len(pair_lidar(points, EYE, K, (6, 8), z_buffer=True)) == 0
