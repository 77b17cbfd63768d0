"""Implement sparse 3D convolution in plain PyTorch, on CPUs and CUDA devices."""

from labelfree.nets.sparse.convolution import sparse_conv
from labelfree.nets.sparse.kernel_map import KernelMap, SparseGeometry
from labelfree.nets.sparse.voxels import Voxels, voxelise

__all__ = ["KernelMap", "SparseGeometry", "Voxels", "sparse_conv", "voxelise"]
