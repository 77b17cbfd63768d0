"""Compute time and disk of labelling and training ScanNet and nuScenes on 1 and 8 GPUs from counted operations.

    python -m benchmarks.scale [--tflops 100] [--tflops-small 20] [--batch-seconds 0.38] [--batch-mb 137]

No GPU is used. Operations of the real architectures are counted by PyTorch's FLOP counter, those of sparse convolution
from kernel maps. Time is operations divided by a sustained rate, which is an assumption: `--tflops` for large products
(encoders, DeepLabV3), `--tflops-small` for SAM's mask decoder and sparse convolution, whose products are small and
bound by memory. Disk is the size of the files that the teachers' cache writes. Seconds and megabytes per batch of the
data path are those that `benchmarks/data_path.py` prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from benchmarks.sparse_conv import scan
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, CLIPVisionModel, SamConfig, SamModel, SamVisionConfig

from labelfree.config.reading import recipe
from labelfree.config.run_config import RunConfig
from labelfree.data.survey import cache_bytes, kept_bytes
from labelfree.nets.minkunet import MinkUNet
from labelfree.nets.segmenters import Segmenter2D
from labelfree.nets.sparse.kernel_map import KernelMap, SparseGeometry
from labelfree.nets.sparse.layers import SparseConv, SparseConvTranspose, SparseTensor
from labelfree.teachers.mask_decoder import MaskDecoder
from labelfree.training.schedule import steps_per_epoch
from labelfree.vocabulary import Vocabulary

SAM_SIDE, PROMPTS, PROMPTS_COUNTED = 1024, 32 * 32, 12
SAM_HUGE = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "mlp_dim": 5120}
"""SAM ViT-H; every eighth block attends globally."""
TRAINING_PASSES = 3
"""A training step computes three products for each one of a forward pass: outputs, gradients of inputs and weights."""
IMAGES_MEASURED = 128
"""Images of the batch that `benchmarks/data_path.py` measures; others are taken in proportion."""
LINK_GB = 20.0
"""Assumed gigabytes per second from main memory to a GPU (PCIe 4, 16 lanes)."""


@dataclass(frozen=True)
class DataSet:
    """The size of a data set as the paper uses it."""

    name: str
    recipe: str
    scenes: int
    """Training scenes; of nuScenes, key frames."""
    frames: int
    """Training images that are labelled."""


DATA_SETS = (
    DataSet("ScanNet (1,201 scenes, 25k frames)", "scannet", 1201, 24_902),
    DataSet("nuScenes (24,109 key frames, 6 cameras)", "nuscenes", 24_109, 144_654),
)


@torch.no_grad()
def flops(compute: Callable[[], object]) -> float:
    """Return the floating-point operations of a computation, two per multiply-add."""
    with FlopCounterMode(display=False) as counter:
        compute()
    return float(counter.get_total_flops())


def clip_flops(size: tuple[int, int]) -> float:
    """Count one pass of CLIP ViT-B/16 over one image of (height, width) pixels."""
    side = max(size)
    config = CLIPVisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    config.image_size, config.patch_size = side, 16
    with torch.device("meta"):
        encoder, image = CLIPVisionModel(config).eval(), torch.empty(1, 3, *size)
    return flops(lambda: encoder(image, interpolate_pos_encoding=True))


def sam_flops() -> tuple[float, float]:
    """Count SAM ViT-H's image encoder, and the mask decoder over the whole grid of prompts, for one image.

    The decoder is the one that runs (`teachers.mask_decoder`). A third of the masks is upscaled: those that pass the
    filter by predicted IoU, as in `benchmarks/everything_mode.py`.
    """
    vision = SamVisionConfig(**SAM_HUGE, global_attn_indexes=[7, 15, 23, 31], image_size=SAM_SIDE)
    with torch.device("meta"):
        sam, image = SamModel(SamConfig(vision_config=vision)).eval(), torch.empty(1, 3, SAM_SIDE, SAM_SIDE)
    encoder = flops(lambda: sam.vision_encoder(image))
    small = SamVisionConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, mlp_dim=8, image_size=SAM_SIDE)
    plain = SamModel(SamConfig(vision_config=small)).eval().requires_grad_(False)
    decoder = MaskDecoder(plain, torch.float32, True, PROMPTS_COUNTED)
    tokens = decoder.image_tokens(torch.rand(1, 256, SAM_SIDE // 16, SAM_SIDE // 16))
    points, passed = torch.rand(PROMPTS_COUNTED, 2) * SAM_SIDE, torch.zeros(PROMPTS_COUNTED, 3, dtype=torch.bool)
    passed[: PROMPTS_COUNTED // 3] = True
    size = (SAM_SIDE // 4, SAM_SIDE // 4)
    prompts = flops(lambda: decoder.logits(decoder.decode(tokens, points), passed, size))
    return encoder, prompts * PROMPTS / PROMPTS_COUNTED


def deeplab_flops(config: RunConfig) -> float:
    """Count a forward pass of the 2D network over one image."""
    size, text_width = config.labels.image_size, config.networks.net_2d.text_width
    names = Vocabulary(("first", "second"))
    network = Segmenter2D(config.networks.net_2d.with_inputs(size, text_width), torch.rand(2, text_width), names)
    return flops(lambda: network.eval()(torch.rand(1, 3, *size)))


def paired(kernel_map: KernelMap) -> int:
    """Return the number of products of one channel with another."""
    return sum(rows.numel() for rows in kernel_map.inputs)


@contextmanager
def counted_products(network: nn.Module, total: list[float]) -> Iterator[None]:
    """Add the operations of every sparse convolution that runs to `total`."""

    def count(module: nn.Module, given: tuple[SparseTensor], out: SparseTensor) -> None:
        x, kernel = given[0], module.get_parameter("kernel")
        if kernel.ndim == 2:
            pairs = len(x.features)
        elif isinstance(module, SparseConvTranspose):
            pairs = paired(x.geometry.up(x.stride // 2))
        elif isinstance(module, SparseConv) and module.stride == 1:
            pairs = paired(x.geometry.submanifold(x.stride, module.kernel_size))
        else:
            pairs = paired(x.geometry.down(x.stride))
        total.append(2.0 * pairs * kernel.shape[-2] * kernel.shape[-1])

    kinds = (SparseConv, SparseConvTranspose)
    hooks = [part.register_forward_hook(count) for part in network.modules() if isinstance(part, kinds)]
    yield
    for hook in hooks:
        hook.remove()


def minkunet_flops(config: RunConfig) -> tuple[float, int]:
    """Count a forward pass of the 3D network over one scan of surface voxels; return its voxels too."""
    coords: Tensor = scan()
    network, total = MinkUNet(3, config.networks.net_3d.shape()).eval(), list[float]()
    with counted_products(network, total), torch.no_grad():
        network(torch.rand(len(coords), 3), SparseGeometry(coords))
    return sum(total), len(coords)


def in_words(seconds: float) -> str:
    hours = seconds / 3600
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{hours * 60:,.0f} min" if hours < 2 else f"{hours:,.1f} h" if hours < 100 else f"{hours / 24:,.1f} days"


def report(data: DataSet, options: argparse.Namespace) -> None:
    """Print a table for one data set: per step the unit cost, and the time on 1 and 8 GPUs."""
    config = recipe(data.recipe)
    size, large, small = config.labels.image_size, options.tflops * 1e12, options.tflops_small * 1e12
    encoder, decoder = sam_flops()
    per_scan, voxels = minkunet_flops(config)
    images = min(config.train.images(), round(data.frames / data.scenes))
    scenes_at_once = config.train.scenes_per_batch
    of_2d = TRAINING_PASSES * deeplab_flops(config) * images * scenes_at_once
    of_3d = TRAINING_PASSES * per_scan * scenes_at_once
    steps = config.train.epochs * steps_per_epoch(data.scenes, config.train, 1)
    share = images * scenes_at_once / IMAGES_MEASURED
    on_gpu, link = of_2d / large + of_3d / small, share * options.batch_mb / 1e3 / LINK_GB
    print(f"\n## {data.name}, images at {size[0]}x{size[1]}\n")
    print("| step | unit cost | units | 1 GPU | 8 GPUs |\n| --- | --- | ---: | ---: | ---: |")
    for step, unit, cost, units in (
        ("CLIP B/16", f"{clip_flops(size) / 1e9:,.0f} GFLOP", clip_flops(size) / large, data.frames),
        ("SAM H encoder", f"{encoder / 1e12:,.1f} TFLOP", encoder / large, data.frames),
        ("SAM decoder, 1,024 prompts", f"{decoder / 1e12:,.2f} TFLOP", decoder / small, data.frames),
        (f"training step, {images * scenes_at_once} images", f"{of_2d / 1e12:,.1f} TFLOP", of_2d / large, steps),
        (f"training step, {scenes_at_once} x {voxels:,} voxels", f"{of_3d / 1e12:,.1f} TFLOP", of_3d / small, steps),
    ):
        times = [in_words(cost * units / gpus) for gpus in (1, 8)]
        print(f"| {step} | {unit} | {units:,} | {times[0]} | {times[1]} |")
    preparing = share * options.batch_seconds
    print(
        f"\nOne training step: {on_gpu:.2f} s on one GPU, {preparing:.2f} s of one core to prepare its "
        f"batch, {link * 1e3:.0f} ms over the bus. {preparing / on_gpu:.1f} cores per GPU keep it busy."
    )
    cached, kept = cache_bytes(data.frames, size, config.labels.latent_width), kept_bytes(data.frames, size)
    print(f"Disk: teachers' cache {cached / 1e9:,.0f} GB, kept frames {kept / 1e9:,.0f} GB.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=100.0, help="assumed sustained rate of large products")
    parser.add_argument("--tflops-small", type=float, default=20.0, help="assumed sustained rate of small products")
    parser.add_argument("--batch-seconds", type=float, default=0.38, help="from benchmarks/data_path.py")
    parser.add_argument("--batch-mb", type=float, default=137.0, help="from benchmarks/data_path.py")
    options = parser.parse_args()
    print(f"Assumed rates: {options.tflops:g} and {options.tflops_small:g} TFLOP/s.")
    for data in DATA_SETS:
        report(data, options)


if __name__ == "__main__":
    main()
