from __future__ import annotations

import torch
from torch import nn

from labelfree.training.weight_average import WeightAverage


def test_the_mean_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(3, 2)
    net = nn.Sequential(linear, nn.BatchNorm1d(2))
    average = WeightAverage.of(net, 0.5)
    expected = linear.weight.detach().clone()
    for step in range(12):
        with torch.no_grad():
            linear.weight.add_(torch.randn(2, 3))
        net(torch.randn(5, 3))  # moves the statistics
        average.update(net, step)
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * linear.weight.detach()
    torch.testing.assert_close(average.mean["0.weight"], expected)
    last = linear.weight.detach().clone()
    average.put_into(net)
    torch.testing.assert_close(linear.weight.detach(), expected)
    assert not torch.allclose(expected, last)
    assert int(average.mean["1.num_batches_tracked"]) == 12


def test_the_start_is_soon_forgotten() -> None:
    net = nn.Linear(1, 1)
    with torch.no_grad():
        net.weight.fill_(1000.0)
    average = WeightAverage.of(net, 0.99)
    with torch.no_grad():
        net.weight.fill_(1.0)
    for step in range(100):
        average.update(net, step)
    assert abs(float(average.mean["weight"]) - 1.0) < 0.01
