"""Batch norm for single values per channel, and batch norm over the joint batch of several processes.

One value per channel, such as one voxel at stride 16 or one pooled image, has no variance. It is normalised by the
running statistics, and it does not change them. In several processes the joint number of values decides.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class BatchNorm1d(nn.BatchNorm1d):
    """Batch norm over rows; a single row, which has no variance, is normalised by the running statistics."""

    joint = False
    """Whether the batch of all processes is normalised together (`synchronise`)."""

    def forward(self, input: Tensor) -> Tensor:  # [V, D]
        """Normalise each channel."""
        if _is_joint(self):
            return joint_batch_norm(self, input)
        return _by_running(self, input) if input.shape[0] <= 1 else super().forward(input)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm over images; a single pixel, which has no variance, is normalised by the running statistics."""

    joint = False
    """Whether the batch of all processes is normalised together (`synchronise`)."""

    def forward(self, input: Tensor) -> Tensor:  # [B, D, h, w]
        """Normalise each channel."""
        if _is_joint(self):
            return joint_batch_norm(self, input)
        single = input.shape[0] * input.shape[2] * input.shape[3] <= 1
        return _by_running(self, input) if single else super().forward(input)


def synchronise(network: nn.Module) -> None:
    """Let the batch norms of a network normalise the joint batch of all processes while it is trained.

    Processes then exchange values in the forward and in the backward pass, in the order of the layers. All of them
    must run the same layers in the same order, in one thread.
    """
    for module in network.modules():
        if isinstance(module, BatchNorm1d | BatchNorm2d):
            module.joint = True


def is_synchronised(network: nn.Module) -> bool:
    """Return whether `synchronise` was called on a network."""
    return any(module.joint for module in network.modules() if isinstance(module, BatchNorm1d | BatchNorm2d))


def joint_batch_norm(
    norm: BatchNorm1d | BatchNorm2d,
    values: Tensor,  # [n, D, ...] of this process; n may be 0 and differs between processes
) -> Tensor:  # like values
    """Normalise by the statistics of all processes' values, and update the running statistics with them."""
    mean, variance, count = _joint_statistics(values.detach())
    running_mean, running_var = norm.running_mean, norm.running_var
    assert running_mean is not None
    assert running_var is not None
    assert norm.num_batches_tracked is not None
    several = count > 1  # compared on the device: reading the number would stall a GPU at each layer
    with torch.no_grad():
        share = several * float(norm.momentum or 0.0)
        running_mean.lerp_(mean, share)
        running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), share)
        norm.num_batches_tracked.add_(several)
    mean = torch.where(several, mean, running_mean)
    scale = torch.rsqrt(torch.where(several, variance, running_var) + norm.eps)
    per_value = several / count.clamp(min=1)
    result: Tensor = _JointNorm.apply(  # type: ignore[no-untyped-call]
        values, norm.weight, norm.bias, mean, scale, per_value
    )
    return result


def _joint_statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean [D], biased variance [D] and number (scalar) of all processes' values per channel."""
    width = values.shape[1]
    number = values.numel() // width
    own = torch.zeros(2 * width + 1, dtype=torch.float64, device=values.device)
    if number:
        variance, mean = torch.var_mean(values.float(), _all_but_channels(values), correction=0)
        own[:width], own[width:-1], own[-1] = mean, variance, number
    parts = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, own)
    joined = torch.stack(parts)  # [processes, 2D + 1]; the same bits in all processes
    means, variances, numbers = joined[:, :width], joined[:, width:-1], joined[:, -1:]
    total = numbers.sum()
    mean = (numbers * means).sum(0) / total.clamp(min=1)
    variance = (numbers * (variances + (means - mean).square())).sum(0) / total.clamp(min=1)
    return mean.float(), variance.float(), total.float()


class _JointNorm(torch.autograd.Function):
    """Normalise by given statistics; the gradient includes their dependence on all processes' values."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor, per_value: Tensor
    ) -> Tensor:
        """`per_value` is 1 / number of values, or 0 if the statistics do not depend on the values."""
        ctx.save_for_backward(values, weight, mean, scale, per_value)
        normalised = _normalised(values, mean, scale)
        return (normalised * _as_channels(weight, values) + _as_channels(bias, values)).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        values, weight, mean, scale, per_value = ctx.saved_tensors
        gradient = gradients[0].float()
        normalised, others = _normalised(values, mean, scale), _all_but_channels(values)
        own = torch.stack([gradient.sum(others), (gradient * normalised).sum(others)])  # [2, D]
        joint = own.clone()
        torch.distributed.all_reduce(joint)
        shift, slope = (_as_channels(part, values) for part in joint * per_value)
        of_values = (gradient - shift - normalised * slope) * _as_channels(weight * scale, values)
        return of_values.to(values.dtype), own[1], own[0], None, None, None


def _normalised(values: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return (values.float() - _as_channels(mean, values)) * _as_channels(scale, values)


def _as_channels(part: Tensor, values: Tensor) -> Tensor:
    """Return a vector [D] in a shape that applies to the channels of values [n, D, ...]."""
    return part.view(1, -1, *([1] * (values.dim() - 2)))


def _all_but_channels(values: Tensor) -> list[int]:
    return [axis for axis in range(values.dim()) if axis != 1]


def _is_joint(norm: BatchNorm1d | BatchNorm2d) -> bool:
    """Return whether a norm exchanges values now: it is trained, in more than one process."""
    if not (norm.joint and norm.training and torch.distributed.is_initialized()):
        return False
    return torch.distributed.get_world_size() > 1


def _by_running(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor) -> Tensor:
    return functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
