"""The errors of a hand-held scan: poses, depth and colours as a sensor delivers them. Elementwise NumPy only."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfree_lab.rooms.cameras import Camera
from labelfree_lab.rooms.style import DepthErrors, ImageErrors, RoomStyle
from labelfree_lab.shapes.textures import value_noise

Floats = NDArray[np.float32]
Rng = np.random.Generator
PATCH = 8.0
"""Pixels between the supports of errors that are equal in patches."""


def misplaced(camera: Camera, style: RoomStyle, rng: Rng) -> Camera:
    """Return the camera with the pose that a tracker would report."""
    if style.pose_m == 0 and style.pose_degrees == 0:
        return camera
    rx, ry, rz = rng.standard_normal(3) * math.radians(style.pose_degrees)
    shift = rng.standard_normal(3) * style.pose_m
    turn = np.array([[1, -rz, ry], [rz, 1, -rx], [-ry, rx, 1]])  # small angles; made a rotation below
    x = turn[0] / math.sqrt(float((turn[0] ** 2).sum()))
    y = turn[1] - x * float((turn[1] * x).sum())
    y = y / math.sqrt(float((y**2).sum()))
    z = np.array([x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]])
    rows, error = camera.world_to_camera, np.stack([x, y, z])
    pose = np.eye(4)
    for k in range(3):
        pose[k] = error[k, 0] * rows[0] + error[k, 1] * rows[1] + error[k, 2] * rows[2]
        pose[k, 3] += shift[k]
    return replace(camera, world_to_camera=pose)


def neighbours(size: tuple[int, int], errors: DepthErrors, rng: Rng) -> NDArray[np.int64]:
    """Return for each pixel [H*W] the pixel whose depth it gets: itself or a neighbour."""
    height, width = size
    row, column = np.indices(size)
    if errors.shift > 0:
        moved = rng.random(size) < errors.shift
        row = np.clip(row + np.where(moved, rng.integers(-2, 3, size), 0), 0, height - 1)
        column = np.clip(column + np.where(moved, rng.integers(-2, 3, size), 0), 0, width - 1)
    return (row * width + column).ravel()


def measured_depth(
    depth: Floats,  # [H, W] metres, without errors
    cosine: Floats,  # [H, W] between ray and surface
    transparent: NDArray[np.bool_],  # [H, W]
    errors: DepthErrors,
    rng: Rng,
) -> Floats:
    """Return depth [H, W] with noise, and 0 where the sensor has no value."""
    size = depth.shape[0], depth.shape[1]
    square = depth * depth
    noisy = depth + square * np.float32(errors.noise) * rng.standard_normal(size, np.float32)
    noisy = noisy + square * np.float32(errors.waviness * 3.5) * (_patches(size, PATCH, rng) - np.float32(0.5))
    missing = (cosine < errors.grazing) | (depth > errors.range_m)
    if errors.holes > 0:
        missing |= (_patches(size, PATCH / 2, rng) < 0.35 * math.sqrt(errors.holes * 4)) & (rng.random(size) < 0.9)
        missing |= transparent & (_patches(size, 2 * PATCH, rng) < 0.6)
    return np.where(missing, np.float32(0), np.maximum(noisy, np.float32(0.05))).astype(np.float32)


def _patches(size: tuple[int, int], step: float, rng: Rng) -> Floats:
    """Return smooth noise [H, W] in 0..1 that varies over `step` pixels."""
    row, column = np.indices(size, np.float32)
    seed = np.full(row.size, int(rng.integers(1 << 31)), np.uint32)
    return value_noise(column.ravel() / step, row.ravel() / step, seed).reshape(size).astype(np.float32)


def blurred(image: Floats, errors: ImageErrors, rng: Rng) -> Floats:  # [H, W, 3] light
    """Return the image after motion blur along a random direction."""
    if errors.blur == 0:
        return image
    length, angle = rng.uniform(0, errors.blur), rng.uniform(0, 2 * math.pi)
    rows, columns = (np.arange(side) for side in image.shape[:2])
    total = image.copy()
    for share in (-0.5, -0.25, 0.25, 0.5):
        total += _sampled(image, rows - length * share * math.sin(angle), columns - length * share * math.cos(angle))
    return total / np.float32(5)


def _sampled(image: Floats, rows: NDArray[np.floating[Any]], columns: NDArray[np.floating[Any]]) -> Floats:
    """Return the image at positions given by a row and a column each, by linear interpolation; borders repeat."""
    height, width = image.shape[:2]
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    below, beside = (rows - top).astype(np.float32)[:, None, None], (columns - left).astype(np.float32)[None, :, None]

    def at(index: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        return np.clip(index, 0, count - 1)

    mixed = image[at(top, height)] * (1 - below) + image[at(top + 1, height)] * below
    sampled: Floats = mixed[:, at(left, width)] * (1 - beside) + mixed[:, at(left + 1, width)] * beside
    return sampled


def bled(image: Floats, errors: ImageErrors) -> Floats:  # [H, W, 3]
    """Return the image with colour tones averaged over squares and interpolated, while brightness stays."""
    side = errors.bleeding
    if side == 1:
        return image
    height, width = image.shape[:2]
    grey = image.mean(2, keepdims=True)
    tone = image - grey
    coarse: Floats = tone.reshape(height // side, side, width // side, side, 3).mean((1, 3))
    rows, columns = ((np.arange(count) + 0.5) / side - 0.5 for count in (height, width))
    smooth = _sampled(coarse, rows, columns)
    return (grey + smooth).astype(np.float32)
