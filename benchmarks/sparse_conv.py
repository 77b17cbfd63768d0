"""Time the ways to compute a sparse convolution, and one training step of each network.

    python benchmarks/sparse_conv.py --threads 1

Rooms of surfaces at 5 cm, about 24,000 voxels in a batch of eight. Times are CPU milliseconds of this process, the best
of a few runs: on a busy machine they vary less than the clock on the wall, and with one thread they are the same thing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from labelfree.nets.segmenters import Segmenter2D, Segmenter2DConfig, Segmenter3D, Segmenter3DConfig
from labelfree.nets.sparse.convolution import sparse_conv
from labelfree.nets.sparse.kernel_map import KernelMap, SparseGeometry
from labelfree.nets.sparse.voxels import Voxels
from labelfree.vocabulary import Vocabulary

ROOMS = 8
SIDE = 28
"""Room side in voxels."""
CHANNELS = ((3, 32, 5), (16, 16, 3), (32, 32, 3), (64, 32, 3), (64, 64, 3), (128, 128, 3))
"""Cin, Cout, kernel size."""


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
    """Build everything that MinkUNet asks for."""
    geometry = SparseGeometry(coords)
    geometry.submanifold(1, 5).table.numel()
    for stride in (1, 2, 4, 8, 16):
        len(geometry.submanifold(stride, 3).groups)
        if stride < 16:
            len(geometry.down(stride).groups), len(geometry.up(stride).groups)
    return geometry


def time_networks(coords: Tensor, bf16: bool) -> None:
    vocabulary = Vocabulary.from_names([f"class {index}" for index in range(16)])
    text = functional.normalize(torch.randn(16, 128), dim=1)
    planes = (16, 32, 48, 64, 64, 48, 32, 32)
    net_3d = Segmenter3D(Segmenter3DConfig("MinkUNet14A", planes=planes, text_width=128), text, vocabulary)
    net_2d = Segmenter2D(Segmenter2DConfig("resnet18", 24, aspp_channels=64, text_width=128), text, vocabulary)
    voxels = Voxels(coords, torch.arange(len(coords)), torch.rand(len(coords), 3))
    images = torch.rand(16, 3, 96, 128).contiguous(memory_format=torch.channels_last)
    print(f"MinkUNet14, {len(coords)} voxels, kernel maps:    {milliseconds(lambda: maps_of(coords)):6.0f}")
    for name, network, data in (("MinkUNet14", net_3d, voxels), ("DeepLabV3 16x96x128", net_2d, images)):
        for rough in (False, True)[: 1 + bf16]:

            def step(network: torch.nn.Module = network, data: object = data, rough: bool = rough) -> None:
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=rough):
                    out = network(data)
                (out.logits.float().square().mean() + out.latent.float().square().mean()).backward()

            print(f"{name} forward + backward {'bf16' if rough else 'fp32'}: {milliseconds(step, 3):6.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="also under bfloat16 autocast")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    coords = torch.cat([room(index) for index in range(ROOMS)])
    print(f"torch {torch.__version__}, {options.threads} threads, {len(coords)} voxels")
    compare_convolutions(SparseGeometry(coords))
    time_networks(coords, options.bf16)


if __name__ == "__main__":
    main()
