"""Batch norm that survives a single value per channel: one voxel left at stride 16, or one image in a pooled branch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class BatchNorm1d(nn.BatchNorm1d):
    """Batch norm over rows; a single row has no variance and is normalised by the running statistics."""

    def forward(self, input: Tensor) -> Tensor:  # [V, D]
        """Normalise."""
        return _by_running(self, input) if input.shape[0] <= 1 else super().forward(input)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm over images; a single pixel has no variance and is normalised by the running statistics."""

    def forward(self, input: Tensor) -> Tensor:  # [B, D, h, w]
        """Normalise."""
        single = input.shape[0] * input.shape[2] * input.shape[3] <= 1
        return _by_running(self, input) if single else super().forward(input)


def _by_running(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor) -> Tensor:
    return functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
