from __future__ import annotations

import torch

from labelfree_lab.teachers.clusters import Clusters, k_means


def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    """Three narrow groups of 90, 9 and 1 vectors, far from each other."""
    group = torch.tensor([0] * 90 + [1] * 9 + [2])
    middle = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [0.0, 50.0, 50.0]])
    return middle[group] + 0.01 * torch.randn(100, 3, generator=torch.Generator().manual_seed(0)), group


def test_k_means_matches_a_loop_over_the_samples() -> None:
    samples = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    centres = k_means(samples, 5, torch.Generator().manual_seed(2))
    nearest = torch.tensor([min(range(5), key=lambda k: float((x - centres[k]).norm())) for x in samples])
    for k in range(5):
        torch.testing.assert_close(centres[k], samples[nearest == k].mean(0), atol=0.2, rtol=0)


def test_clusters_separate_groups_and_weigh_rare_ones_more() -> None:
    samples, group = blobs()
    clusters = Clusters((1, 2), 3)
    clusters.fit(samples, torch.Generator().manual_seed(5))
    found = clusters(samples)
    pairs = {(int(a), int(b)) for a, b in zip(group, found)}
    assert len(pairs) == 3
    rare, common = (clusters.weight[found[row]] for row in (99, 0))
    torch.testing.assert_close(rare / common, torch.tensor(90.0**0.5))


def test_a_part_weighs_the_same_whatever_its_width() -> None:
    samples = torch.randn(1000, 5, generator=torch.Generator().manual_seed(1)) * torch.tensor([9.0, 1, 1, 1, 1])
    clusters = Clusters((1, 4), 4)
    clusters.fit(samples, torch.Generator().manual_seed(0))
    scaled = (samples - clusters.mean) * clusters.scale
    torch.testing.assert_close(scaled[:, :1].square().mean(), scaled[:, 1:].square().sum(1).mean(), atol=0.02, rtol=0)


def test_unknown_vectors_have_no_cluster() -> None:
    clusters = Clusters((3,), 2)
    clusters.fit(blobs()[0], torch.Generator().manual_seed(0))
    vectors = torch.zeros(2, 2, 3)
    vectors[1, 0] = torch.nan
    assert (clusters(vectors) == -1).tolist() == [[False, False], [True, False]]
