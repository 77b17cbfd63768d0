"""Measure MinkUNet34 on a cloud of the size of a scan, and several implementations of sparse convolution.

    python benchmarks/sparse_conv.py

MinkUNet34: wall seconds, median of five, on about 54,000 voxels of surfaces. Single convolutions: eight rooms, about
25,000 voxels, CPU milliseconds of this process, best of a few repeats, which other load on the machine affects less.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from labelfree.config.architectures import VARIANTS
from labelfree.nets.minkunet import MinkUNet
from labelfree.nets.sparse.convolution import sparse_conv
from labelfree.nets.sparse.kernel_map import KernelMap, SparseGeometry
from labelfree.runtime.precision import fast_autocast

ROOMS = 8
SIDE = 28
"""Side of a room in voxels."""
SCAN, SCAN_BOXES = 108, 24
"""Side of the scan in voxels, number of boxes as furniture."""
CHANNELS = ((3, 32, 5), (16, 16, 3), (32, 32, 3), (64, 32, 3), (64, 64, 3), (128, 128, 3))
"""Input channels, output channels, kernel size."""


def room(index: int) -> Tensor:  # [V, 4]
    """Return the voxels of a floor, two walls, a ceiling-high shelf and six boxes."""
    generator = torch.Generator().manual_seed(index)
    solid = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.bool)
    solid[:, :, 0] = solid[0] = solid[:, 0] = True
    for _ in range(6):
        corner = torch.randint(2, SIDE - 14, (2,), generator=generator).tolist()
        size = torch.randint(5, 12, (3,), generator=generator).tolist()
        box = solid[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1], 0 : size[2]]
        box[:] = True
        box[1:-1, 1:-1, 1:-1] = False
    places = solid.nonzero()
    return torch.cat([torch.full((len(places), 1), index), places], dim=1)


def by_index_add(features: Tensor, kernel_map: KernelMap, weight: Tensor) -> Tensor:
    out = features.new_zeros(kernel_map.num_outputs, weight.shape[2])
    for offset, (inputs, outputs) in enumerate(zip(kernel_map.inputs, kernel_map.outputs)):
        out.index_add_(0, outputs, features.index_select(0, inputs) @ weight[offset])
    return out


def by_table(features: Tensor, kernel_map: KernelMap, weight: Tensor) -> Tensor:
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    parts = [padded.index_select(0, rows.reshape(-1)).view(len(rows), -1) for rows in kernel_map.table.split(1024)]
    return torch.cat([part @ weight.reshape(-1, weight.shape[2]) for part in parts])


def milliseconds(function: Callable[[], object], repeats: int = 5) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times) * 1e3


def compare_convolutions(geometry: SparseGeometry) -> None:
    print("Cin Cout kernel   ours  index_add  table")
    for inputs, outputs, kernel in CHANNELS:
        kernel_map = geometry.submanifold(1, kernel)
        features = torch.randn(kernel_map.num_inputs, inputs)
        weight = torch.randn(kernel_map.volume, inputs, outputs)
        ways = (sparse_conv, by_index_add, by_table)
        times = [milliseconds(partial(way, features, kernel_map, weight)) for way in ways]
        print(f"{inputs:3d} {outputs:4d} {kernel:6d} {times[0]:6.1f} {times[1]:10.1f} {times[2]:6.1f}")


def maps_of(coords: Tensor) -> SparseGeometry:
    """Build all kernel maps that MinkUNet uses."""
    geometry = SparseGeometry(coords)
    geometry.submanifold(1, 5).table.numel()
    for stride in (1, 2, 4, 8, 16):
        geometry.submanifold(stride, 3)
        if stride < 16:
            geometry.up(stride)
    return geometry


def scan(generator: torch.Generator) -> Tensor:  # [V, 4]
    """Return about 54,000 surface voxels, as in a ScanNet scan at 5 cm: a room of 5.4 m with furniture."""
    solid = torch.zeros(SCAN, SCAN, SCAN // 2, dtype=torch.bool)
    solid[:, :, 0] = solid[0] = solid[:, 0] = solid[-1] = True
    for _ in range(SCAN_BOXES):
        low = torch.randint(2, SCAN - 20, (2,), generator=generator).tolist()
        size = torch.randint(8, 18, (3,), generator=generator).tolist()
        box = solid[low[0] : low[0] + size[0], low[1] : low[1] + size[1], 0 : size[2] * 2]
        box[:] = True
        box[1:-1, 1:-1, 1:-1] = False
    places = solid.nonzero()
    return torch.cat([torch.zeros(len(places), 1, dtype=torch.int64), places], dim=1)


def time_minkunet34() -> None:
    """Print wall seconds of a forward pass and a training step of MinkUNet34 with 512 outputs, and peak memory."""
    network = nn.ModuleDict({"trunk": MinkUNet(3, VARIANTS["MinkUNet34C"]), "head": nn.Linear(96, 512)})
    coords = scan(torch.Generator().manual_seed(0))
    features = torch.rand(len(coords), 3)
    weights = sum(weight.numel() for weight in network.parameters())
    print(f"MinkUNet34, {weights / 1e6:.1f} M weights, {len(coords)} voxels, {torch.get_num_threads()} threads")

    def forward() -> Tensor:
        out: Tensor = network["head"](network["trunk"](features, SparseGeometry(coords)))
        return out

    def step() -> None:
        network.zero_grad(set_to_none=True)
        forward().square().mean().backward()

    for words, how in (("float32", contextlib.nullcontext()), ("as chosen", fast_autocast("cpu"))):
        with how:
            network.eval()
            with torch.no_grad():
                print(f"  forward        {seconds(forward):5.2f} s {words} (MinkowskiEngine on a CPU: 2.0 s)")
            network.train()
            print(f"  training step  {seconds(step):5.2f} s {words} (5.3 s)")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  peak memory    {peak:5.2f} GiB of the whole process (2.0 GiB)")


def seconds(run: Callable[[], object], repeats: int = 5) -> float:
    """Return the median wall seconds of several calls after one warm-up call."""
    run()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return sorted(taken)[repeats // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    time_minkunet34()
    coords = torch.cat([room(index) for index in range(ROOMS)])
    print(f"torch {torch.__version__}, {options.threads} threads, {len(coords)} voxels")
    compare_convolutions(SparseGeometry(coords))


if __name__ == "__main__":
    main()
