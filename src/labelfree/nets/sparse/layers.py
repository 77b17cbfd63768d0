"""Define MinkowskiNet's building blocks with MinkowskiEngine's parameter names."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from labelfree.nets.norm import BatchNorm1d
from labelfree.nets.sparse.convolution import sparse_conv
from labelfree.nets.sparse.kernel_map import SparseGeometry


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """Features on the voxels of one stride."""

    features: Tensor  # [V, D]
    geometry: SparseGeometry
    stride: int = 1

    def with_features(self, features: Tensor) -> SparseTensor:
        """Return a tensor with other features [V, D] on the same voxels."""
        return replace(self, features=features)


class SparseConv(nn.Module):
    """A convolution on voxels: odd kernels with stride 1 keep the voxels, kernel 2 with stride 2 halves resolution."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        if (stride, kernel_size % 2) not in {(1, 1), (2, 0)} or (stride == 2 and kernel_size != 2):
            raise ValueError(f"kernel {kernel_size} with stride {stride} is neither odd with stride 1 nor 2 with 2.")
        self.kernel_size, self.stride = kernel_size, stride
        shape = (inputs, outputs) if kernel_size == 1 else (kernel_size**3, inputs, outputs)
        self.kernel = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(1, outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the kernel from He's normal distribution over outgoing connections, as MinkUNet does."""
        outgoing = self.kernel.numel() / self.kernel.shape[-2]
        nn.init.normal_(self.kernel, std=math.sqrt(2.0 / outgoing))

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve the features; with stride 2 the result has twice the stride."""
        if self.kernel_size == 1:
            out = x.with_features(x.features @ self.kernel)
        elif self.stride == 1:
            out = x.with_features(
                sparse_conv(x.features, x.geometry.submanifold(x.stride, self.kernel_size), self.kernel)
            )
        else:
            features = sparse_conv(x.features, x.geometry.down(x.stride), self.kernel)
            out = SparseTensor(features, x.geometry, 2 * x.stride)
        return out if self.bias is None else out.with_features(out.features + self.bias)


class SparseConvTranspose(nn.Module):
    """Transposed convolution, kernel 2 and stride 2, back onto the encoder's voxels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(8, inputs, outputs))
        # Each output voxel has one input, so MinkowskiEngine counts outgoing connections here too.
        limit = 1.0 / math.sqrt(8 * outputs)
        nn.init.uniform_(self.kernel, -limit, limit)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve the features onto the voxels of half the stride."""
        stride = x.stride // 2
        return SparseTensor(sparse_conv(x.features, x.geometry.up(stride), self.kernel), x.geometry, stride)


class SparseBatchNorm(nn.Module):
    """Batch norm over voxels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn = BatchNorm1d(width)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Normalise each channel."""
        return x.with_features(self.bn(x.features))


def relu(x: SparseTensor) -> SparseTensor:
    """Apply ReLU in place, which is safe because batch norm's gradient does not need its output."""
    return x.with_features(functional.relu_(x.features))


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions around a residual connection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = SparseConv(inputs, outputs, 3)
        self.norm1 = SparseBatchNorm(outputs)
        self.conv2 = SparseConv(outputs, outputs, 3)
        self.norm2 = SparseBatchNorm(outputs)
        self.downsample: nn.Module | None = None
        if inputs != outputs:
            self.downsample = nn.Sequential(SparseConv(inputs, outputs, 1), SparseBatchNorm(outputs))

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Apply the block to the features of one stride; the sum is in place, as is ReLU."""
        residual = x if self.downsample is None else self.downsample(x)
        out = relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        if out.features.dtype != residual.features.dtype:
            return relu(out.with_features(out.features + residual.features))
        return relu(out.with_features(out.features.add_(residual.features)))
