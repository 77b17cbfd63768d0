"""Define MinkowskiNet, the sparse residual U-Net of MinkowskiEngine's MinkUNet family, with its parameter names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from labelfree.config.architectures import LEVELS, MinkUNetShape
from labelfree.errors import InputError
from labelfree.nets.sparse.kernel_map import SparseGeometry
from labelfree.nets.sparse.layers import (
    BasicBlock,
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparseTensor,
    relu,
)

ENTRANCE = "conv0p1s1"
"""MinkowskiEngine's name of the first convolution."""


class MinkUNet(nn.Module):
    """A MinkUNet up to its last block; `out_channels` adds MinkowskiEngine's classifier `final`."""

    def __init__(self, in_channels: int, shape: MinkUNetShape, out_channels: int | None = None) -> None:
        super().__init__()
        planes, layers, first = shape.planes, shape.layers, shape.first_width
        self.out_width = planes[-1] if out_channels is None else out_channels
        self.conv0p1s1 = SparseConv(in_channels, first, shape.first_kernel)
        self.bn0 = SparseBatchNorm(first)
        inputs = first
        for level in range(1, LEVELS + 1):
            self.add_module(f"conv{level}p{2 ** (level - 1)}s2", SparseConv(inputs, inputs, 2, stride=2))
            self.add_module(f"bn{level}", SparseBatchNorm(inputs))
            self.add_module(f"block{level}", _blocks(inputs, planes[level - 1], layers[level - 1]))
            inputs = planes[level - 1]
        skips = (planes[2], planes[1], planes[0], first)
        for stage, skip in zip(range(LEVELS, 2 * LEVELS), skips):
            self.add_module(f"convtr{stage}p{_stride_before(stage)}s2", SparseConvTranspose(inputs, planes[stage]))
            self.add_module(f"bntr{stage}", SparseBatchNorm(planes[stage]))
            self.add_module(f"block{stage + 1}", _blocks(planes[stage] + skip, planes[stage], layers[stage]))
            inputs = planes[stage]
        self.final = None if out_channels is None else SparseConv(inputs, out_channels, 1, bias=True)

    def forward(
        self,
        features: Tensor,  # [V, C]
        geometry: SparseGeometry,
    ) -> Tensor:  # [V, D]
        """Return one feature per voxel."""
        # Encode
        out = relu(self.bn0(self.conv0p1s1(SparseTensor(features, geometry))))
        skips = [out]
        for level in range(1, LEVELS + 1):
            out = relu(self._at(f"bn{level}", self._at(f"conv{level}p{2 ** (level - 1)}s2", out)))
            out = self._at(f"block{level}", out)
            skips.append(out)
        # Decode
        skips.pop()
        for stage in range(LEVELS, 2 * LEVELS):
            out = relu(self._at(f"bntr{stage}", self._at(f"convtr{stage}p{_stride_before(stage)}s2", out)))
            joined = torch.cat([out.features, skips.pop().features.to(out.features.dtype)], dim=1)
            out = self._at(f"block{stage + 1}", out.with_features(joined))
        return out.features if self.final is None else self.final(out).features

    def _at(self, name: str, x: SparseTensor) -> SparseTensor:
        out: SparseTensor = self.get_submodule(name)(x)
        return out


def load_trunk(
    network: MinkUNet,
    weights: Mapping[str, Tensor],
    source: str = "weights",
    entrance: bool = True,
) -> list[str]:
    """Load weights of a MinkUNet of the same shape without their classifier; return the names that are left out.

    Without `entrance` the first convolution, which depends on the features of the points, is not loaded.
    Raises an `InputError` if names or shapes differ.
    """
    first = () if entrance else (f"{ENTRANCE}.",)
    left_out = [name for name in weights if name.startswith(("final.", *first))]
    kept = {name: value for name, value in weights.items() if name not in set(left_out)}
    own = network.state_dict()
    missing = [name for name in own if name not in kept and not name.endswith("num_batches_tracked")]
    missing = [name for name in missing if entrance or not name.startswith(f"{ENTRANCE}.")]
    unknown = [name for name in kept if name not in own]
    unlike = [name for name, value in kept.items() if name in own and own[name].shape != value.shape]
    if missing or unknown or unlike:
        raise InputError(
            f"{source}: {len(missing)} parameters are missing, {len(unknown)} unknown, {len(unlike)} of another shape, "
            f"first '{(missing or unknown or unlike)[0]}': set networks.net_3d.variant, planes, first_width, "
            "first_kernel and texture to those of the weights."
        )
    network.load_state_dict(kept, strict=False)
    return left_out


def _blocks(inputs: int, outputs: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(BasicBlock(inputs if index == 0 else outputs, outputs) for index in range(count)))


def _stride_before(stage: int) -> int:
    """Return the tensor stride at the start of decoder stage 4..7: 16, 8, 4, 2."""
    return 2 ** (2 * LEVELS - stage)
