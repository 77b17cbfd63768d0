"""Define batch norm for a single value per channel, such as one voxel at stride 16 or one pooled image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class BatchNorm1d(nn.BatchNorm1d):
    """Batch norm over rows; a single row, which has no variance, is normalised by the running statistics."""

    def forward(self, input: Tensor) -> Tensor:  # [V, D]
        """Normalise each channel."""
        return _by_running(self, input) if input.shape[0] <= 1 else super().forward(input)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm over images; a single pixel, which has no variance, is normalised by the running statistics."""

    def forward(self, input: Tensor) -> Tensor:  # [B, D, h, w]
        """Normalise each channel."""
        single = input.shape[0] * input.shape[2] * input.shape[3] <= 1
        return _by_running(self, input) if single else super().forward(input)


def _by_running(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor) -> Tensor:
    return functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
