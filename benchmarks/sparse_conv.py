"""Measure MinkUNet34 and its sparse convolution on one core, as ratios to reference products timed in the same run.

    python benchmarks/sparse_conv.py                     # the table: forward pass, training step, peak memory
    python benchmarks/sparse_conv.py --sizes             # microseconds per voxel from 10,000 to 500,000 voxels
    python benchmarks/sparse_conv.py --convolutions      # single convolutions, three implementations

Two references cancel the machine out. `product`: the multiply-adds of the network at the speed of a large float32
matrix product, the faster of MKL's and oneDNN's; no implementation can be faster. `obvious`: the same network where
each offset is one gather, one `torch.mm` and one `index_add`. All are timed alternately, in CPU seconds of the process,
minimum of several rounds, which other load on the machine affects least. Peak memory is that of a fresh process.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from unittest import mock

import torch
from torch import Tensor, nn

from labelfree.config.architectures import VARIANTS
from labelfree.nets.minkunet import MinkUNet
from labelfree.nets.sparse import layers
from labelfree.nets.sparse.convolution import sparse_conv
from labelfree.nets.sparse.kernel_map import KernelMap, SparseGeometry
from labelfree.runtime.allocator import keep_freed_memory
from labelfree.runtime.precision import autocast_dtype, fast_autocast
from labelfree.runtime.products import onednn_is_chosen, products_for

SCAN = 108
"""Side in voxels of the scan with 53,578 voxels."""
OUTPUTS = 512
SIZES = (10_000, 50_000, 200_000, 500_000)
CHANNELS = ((3, 32, 5), (16, 16, 3), (32, 32, 3), (64, 64, 3), (96, 96, 3), (128, 96, 3))
"""Input channels, output channels, kernel size."""
PRODUCT_SIDE = 1024


def scan(
    side: int = SCAN,
    seed: int = 0,
) -> Tensor:  # [V, 4]
    """Return the surface voxels of a room with furniture; a side of 108 voxels is 5.4 m at 5 cm."""
    generator = torch.Generator().manual_seed(seed)
    solid = torch.zeros(side, side, side // 2, dtype=torch.bool)
    solid[:, :, 0] = solid[0] = solid[:, 0] = solid[-1] = True
    for _ in range(round(24 * (side / SCAN) ** 2)):
        low = torch.randint(2, side - 20, (2,), generator=generator).tolist()
        size = torch.randint(8, 18, (3,), generator=generator).tolist()
        box = solid[low[0] : low[0] + size[0], low[1] : low[1] + size[1], 0 : size[2] * 2]
        box[:] = True
        box[1:-1, 1:-1, 1:-1] = False
    places = solid.nonzero()
    return torch.cat([torch.zeros(len(places), 1, dtype=torch.int64), places], dim=1)


def scan_of(voxels: int) -> Tensor:  # [V, 4]
    """Return a scan of about this many voxels; density and furniture are those of the scan of 53,578."""
    return scan(max(32, round(SCAN * math.sqrt(voxels / 53_578))))


class Subject:
    """MinkUNet34 with a linear head on one cloud."""

    def __init__(self, coords: Tensor) -> None:
        torch.manual_seed(0)
        trunk = MinkUNet(3, VARIANTS["MinkUNet34C"])
        self.network = nn.ModuleDict({"trunk": trunk, "head": nn.Linear(trunk.out_width, OUTPUTS)})
        self.coords, self.features = coords, torch.rand(len(coords), 3)

    def forward(self) -> Tensor:
        """Run the network, kernel maps included."""
        out: Tensor = self.network["head"](self.network["trunk"](self.features, SparseGeometry(self.coords)))
        return out

    def inference(self) -> None:
        """Run a forward pass in evaluation mode."""
        self.network.eval()
        with torch.no_grad():
            self.forward()

    def step(self) -> None:
        """Run a forward and a backward pass in training mode."""
        self.network.train().zero_grad(set_to_none=True)
        self.forward().square().mean().backward()

    def billions(self) -> float:
        """Return the floating-point operations of a forward pass in billions, two per multiply-add."""
        done = [2 * len(self.coords) * 96 * OUTPUTS]

        def counting(features: Tensor, kernel_map: KernelMap, weight: Tensor) -> Tensor:
            done.append(2 * sum(len(rows) for rows in kernel_map.inputs) * weight.shape[1] * weight.shape[2])
            return features.new_zeros(kernel_map.num_outputs, weight.shape[2])

        with mock.patch.object(layers, "sparse_conv", counting):
            self.inference()
        return sum(done) / 1e9


def by_index_add(features: Tensor, kernel_map: KernelMap, weight: Tensor) -> Tensor:
    """Convolve in the obvious way; autograd derives the gradient."""
    out = features.new_zeros(kernel_map.num_outputs, weight.shape[2])
    for offset, (inputs, outputs) in enumerate(zip(kernel_map.inputs, kernel_map.outputs)):
        out = out.index_add(0, outputs, (features.index_select(0, inputs) @ weight[offset]).to(out.dtype))
    return out


def by_table(features: Tensor, kernel_map: KernelMap, weight: Tensor) -> Tensor:
    """Convolve by one product over a gathered neighbour table."""
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    parts = [padded.index_select(0, rows.reshape(-1)).view(len(rows), -1) for rows in kernel_map.table.split(1024)]
    return torch.cat([part @ weight.reshape(-1, weight.shape[2]) for part in parts])


def obvious() -> AbstractContextManager[object]:
    """Return the context in which networks convolve in the obvious way."""
    return mock.patch.object(layers, "sparse_conv", by_index_add)


def gigaflops(run: Callable[[], object]) -> float:
    """Return the speed of a product of PRODUCT_SIDE, in billions of operations per CPU second."""
    return 2 * PRODUCT_SIDE**3 / 1e9 / cpu_seconds(run)


def fastest_product() -> float:
    """Return the speed of the faster of MKL and oneDNN for a large float32 product."""
    first, second, out = (torch.rand(PRODUCT_SIDE, PRODUCT_SIDE) for _ in range(3))
    ways: list[Callable[[], object]] = [partial(torch.mm, first, second, out=out)]
    if onednn_is_chosen():
        ways.append(partial(products_for(first).write, first, second, out))
    return max(gigaflops(way) for way in ways)


def cpu_seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def table(rounds: int) -> None:
    """Print forward and step in float32 against both references, then bf16 where this CPU has units for it."""
    subject = Subject(scan())
    billions = subject.billions()
    print(f"MinkUNet34, {len(subject.coords)} voxels, {billions:.1f} GFLOP forward, {words_about_machine()}")
    runs = {"forward": subject.inference, "step": subject.step}
    ours, slow = dict.fromkeys(runs, math.inf), dict.fromkeys(runs, math.inf)
    speed = 0.0
    for _ in range(rounds):
        for name, run in runs.items():
            ours[name] = min(ours[name], cpu_seconds(run))
            with obvious():
                slow[name] = min(slow[name], cpu_seconds(run))
            speed = max(speed, fastest_product())
    print(f"large float32 product: {speed:.0f} GFLOP/s")
    print("float32    ours  obvious  ours/obvious  product  ours/product")
    for name, factor in (("forward", 1), ("step", 3)):
        bound = factor * billions / speed
        words = f"{slow[name]:7.2f}s {ours[name] / slow[name]:13.2f} {bound:7.2f}s {ours[name] / bound:13.2f}"
        print(f"{name:8s} {ours[name]:5.2f}s {words}")
    if autocast_dtype("cpu") is None:
        print("bf16: not measured, this CPU has neither AMX nor AVX512-BF16 and computes it several times slower")
        return
    with fast_autocast("cpu"):
        for name, run in runs.items():
            taken = min(cpu_seconds(run) for _ in range(rounds))
            print(f"bf16 {name:8s} {taken:5.2f}s  {taken / ours[name]:.2f} of float32")


def words_about_machine() -> str:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    name = capabilities.get("cpu_name", "unknown CPU")
    library = "oneDNN" if onednn_is_chosen() else "MKL"
    return f"{name}, {torch.get_num_threads()} threads, float32 products by {library}, torch {torch.__version__}"


def print_peak() -> None:
    """Print the peak memory of this process after two training steps."""
    subject = Subject(scan())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    subject.step()
    subject.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of two training steps, float32: {peak:.2f} GiB of the process ({before:.2f} before)")


def sizes(rounds: int) -> None:
    """Print microseconds per voxel of a forward pass, float32, for clouds of growing size."""
    subjects = [Subject(scan_of(voxels)) for voxels in SIZES]
    best = [math.inf] * len(subjects)
    for _ in range(rounds):
        for index, subject in enumerate(subjects):
            best[index] = min(best[index], cpu_seconds(subject.inference) / len(subject.coords) * 1e6)
    work = [subject.billions() * 1e9 / len(subject.coords) for subject in subjects]
    print("voxels   us/voxel  ratio  kFLOP/voxel")
    for subject, microseconds, operations in zip(subjects, best, work):
        ratio = microseconds / min(best)
        print(f"{len(subject.coords):7d} {microseconds:9.1f} {ratio:6.2f} {operations / 1e3:12.0f}")
    print(f"largest / smallest: {max(best) / min(best):.2f}")


def convolutions(rounds: int) -> None:
    """Print CPU milliseconds of single convolutions on 25,000 voxels."""
    geometry = SparseGeometry(scan_of(25_000))
    print("Cin Cout kernel   ours  index_add  table (ms)")
    for inputs, outputs, kernel in CHANNELS:
        kernel_map = geometry.submanifold(1, kernel)
        features = torch.randn(kernel_map.num_inputs, inputs)
        weight = torch.randn(kernel_map.volume, inputs, outputs)
        ways = (sparse_conv, by_index_add, by_table)
        times = [[cpu_seconds(partial(way, features, kernel_map, weight)) for way in ways] for _ in range(rounds + 1)]
        ours, slow, dense = (1e3 * min(column) for column in zip(*times[1:]))
        print(f"{inputs:3d} {outputs:4d} {kernel:6d} {ours:6.1f} {slow:10.1f} {dense:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", action="store_true", help="only microseconds per voxel by size of the cloud")
    parser.add_argument("--convolutions", action="store_true", help="only single convolutions")
    parser.add_argument("--peak", action="store_true", help="only the peak memory of a training step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    if options.peak:
        print_peak()
    elif options.sizes:
        sizes(options.rounds)
    elif options.convolutions:
        convolutions(options.rounds)
    else:
        command = [sys.executable, __file__, "--peak", f"--threads={options.threads}"]
        subprocess.run(command, check=True)
        table(options.rounds)


if __name__ == "__main__":
    main()
