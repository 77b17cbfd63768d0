"""Convert uint8 images to the inputs of the teachers' encoders, without torchvision."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from labelfree.errors import InputError

Images = Tensor | NDArray[np.uint8]


def as_batch(images: Images) -> Tensor:  # [B, 3, H, W] uint8
    """Return uint8 images [H, W, 3] or [B, H, W, 3] with channels first.

    Raises an `InputError` for another type or shape.
    """
    tensor = images if isinstance(images, Tensor) else torch.from_numpy(np.require(images, requirements=["C", "W"]))
    if tensor.dtype != torch.uint8 or tensor.ndim not in (3, 4) or tensor.shape[-1] != 3 or not tensor.numel():
        raise InputError(
            f"An image is {tensor.dtype} {list(tensor.shape)}: the teachers need uint8 RGB [H, W, 3] or [B, H, W, 3]."
        )
    return tensor.reshape(-1, *tensor.shape[-3:]).permute(0, 3, 1, 2)


def resize(
    images: Tensor,  # [B, 3, H, W] uint8
    size: tuple[int, int],
    mode: str,
) -> Tensor:  # [B, 3, height, width] float32, 0..255
    """Resize images to (height, width) with anti-aliasing, as Pillow does; `mode` is bilinear or bicubic."""
    values = images.float()
    if values.shape[-2:] == size:
        return values
    resized = functional.interpolate(values, size=size, mode=mode, align_corners=False, antialias=True)
    return resized.clamp(0, 255)  # bicubic overshoots


def resize_with_pillow(images: Tensor, size: tuple[int, int]) -> Tensor:  # [1, 3, H, W] uint8 -> [1, 3, *size] float32
    """Resize one image bilinearly with Pillow, as SAM's own code does: the result is rounded to whole numbers."""
    picture = Image.fromarray(images[0].permute(1, 2, 0).cpu().contiguous().numpy())
    resized = np.array(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return torch.from_numpy(resized).permute(2, 0, 1)[None].float()


def normalise(
    images: Tensor,  # [B, 3, H, W] float32, 0..255
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:  # [B, 3, H, W]
    """Subtract `mean` and divide by `std`, both on the 0..255 scale."""
    shift, scale = (torch.tensor(values, device=images.device).reshape(3, 1, 1) for values in (mean, std))
    return (images - shift) / scale


def pad_bottom_right(images: Tensor, size: tuple[int, int]) -> Tensor:  # [B, 3, H, W] -> [B, 3, *size]
    """Pad images with zeros below and to the right."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, size[1] - width, 0, size[0] - height))
