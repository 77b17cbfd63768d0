from __future__ import annotations

import pytest
import torch
from torch import Tensor

from labelfree.errors import InputError
from labelfree.nets.sparse import convolution as convolution_module
from labelfree.nets.sparse.convolution import CallCost, sparse_conv
from labelfree.nets.sparse.kernel_map import KernelMap, SparseGeometry
from labelfree.runtime import products as products_module

SIDE = 8


@pytest.fixture(autouse=True, params=["table", "tiles", "tiles by oneDNN"])
def _each_way_of_convolving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ways of convolving, on the same clouds: through the neighbour table and tile by tile."""
    waste = 1 << 50 if request.param == "table" else -1
    for name in ("CHEAP_CALLS", "COSTLY_CALLS"):
        monkeypatch.setattr(convolution_module, name, CallCost(waste, 1 << 15))
    if request.param.endswith("oneDNN"):
        if not products_module._onednn_works():
            pytest.skip("this PyTorch has no oneDNN")
        monkeypatch.setattr(products_module, "onednn_is_chosen", lambda: True)


def scattered(seed: int = 0, density: float = 0.3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(2, SIDE, SIDE, SIDE, generator=generator) < density).nonzero()


def dense(features: Tensor, coords: Tensor, stride: int = 1) -> Tensor:  # [B, C, x, y, z]
    batch, x, y, z = coords.unbind(1)
    side = SIDE // stride
    empty = features.new_zeros(2, side, side, side, features.shape[1])
    return empty.index_put((batch, x // stride, y // stride, z // stride), features).permute(0, 4, 1, 2, 3)


def at(grid: Tensor, coords: Tensor, stride: int = 1) -> Tensor:  # [V, C]
    batch, x, y, z = coords.unbind(1)
    return grid.permute(0, 2, 3, 4, 1)[batch, x // stride, y // stride, z // stride]


def dense_kernel(weight: Tensor) -> Tensor:  # [Cout, Cin, x, y, z]
    side = round(weight.shape[0] ** (1 / 3))
    return weight.view(side, side, side, *weight.shape[1:]).permute(4, 3, 2, 1, 0)


def slow_conv(features: Tensor, kernel_map: KernelMap, weight: Tensor) -> Tensor:
    out = features.new_zeros(kernel_map.num_outputs, weight.shape[2])
    for offset, (inputs, outputs) in enumerate(zip(kernel_map.inputs, kernel_map.outputs)):
        out = out.index_add(0, outputs, features[inputs.long()] @ weight[offset])
    return out


def compare_with_dense(kind: str, kernel: int, channels: int) -> None:
    geometry = SparseGeometry(scattered())
    fine, coarse = geometry.coords(1), geometry.coords(2)
    weight = torch.randn(kernel**3, channels, 12) / (channels * 8) ** 0.5
    source, target = {"same": (fine, fine), "down": (fine, coarse), "up": (coarse, fine)}[kind]
    features = torch.randn(len(source), channels)
    ours = [features.requires_grad_(), weight.requires_grad_()]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    grid, kernels = dense(theirs[0], source, 2 if kind == "up" else 1), dense_kernel(theirs[1])
    if kind == "same":
        kernel_map = geometry.submanifold(1, kernel)
        expected = at(torch.conv3d(grid, kernels, padding=kernel // 2), target)
    elif kind == "down":
        kernel_map = geometry.down(1)
        expected = at(torch.conv3d(grid, kernels, stride=2), target, 2)
    else:
        kernel_map = geometry.up(1)
        expected = at(torch.conv_transpose3d(grid, kernels.transpose(0, 1), stride=2), target)
    out = sparse_conv(ours[0], kernel_map, ours[1])
    direction = torch.randn_like(out)
    out.backward(direction)
    expected.backward(direction)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    for mine, reference in zip(ours, theirs):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, reference.grad, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize(("kind", "kernel"), [("same", 3), ("same", 5), ("down", 2), ("up", 2)])
def test_equals_dense_convolution_with_gradients(kind: str, kernel: int, channels: int) -> None:
    torch.manual_seed(0)
    compare_with_dense(kind, kernel, channels)


def test_many_small_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    for name in ("CHEAP_CALLS", "COSTLY_CALLS"):
        monkeypatch.setattr(convolution_module, name, CallCost(-1, 100))
    assert len(SparseGeometry(scattered()).submanifold(1, 3).tiles(100)) > 5
    for kind, kernel in (("same", 3), ("down", 2), ("up", 2)):
        compare_with_dense(kind, kernel, 20)


@pytest.mark.parametrize("channels", [2, 10])
@pytest.mark.parametrize("kind", ["same", "down", "up"])
def test_gradcheck(kind: str, channels: int) -> None:
    torch.manual_seed(0)
    geometry = SparseGeometry(scattered(density=0.01))
    kernel_map = {"same": geometry.submanifold(1, 3), "down": geometry.down(1), "up": geometry.up(1)}[kind]
    features = torch.randn(kernel_map.num_inputs, channels, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(kernel_map.volume, channels, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, w: sparse_conv(f, kernel_map, w), (features, weight))


@pytest.mark.parametrize("channels", [3, 20])
def test_weight_gradient_without_feature_gradient(channels: int) -> None:
    torch.manual_seed(0)
    kernel_map = SparseGeometry(scattered()).submanifold(1, 3)
    features, weight = torch.randn(kernel_map.num_inputs, channels), torch.randn(27, channels, 4)
    grads = []
    for function in (sparse_conv, slow_conv):
        parameter = weight.clone().requires_grad_()
        function(features, kernel_map, parameter).square().sum().backward()
        grads.append(parameter.grad)
    torch.testing.assert_close(grads[0], grads[1], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("channels", [3, 32])
def test_same_bits_twice(channels: int) -> None:
    torch.manual_seed(0)
    features, weight = torch.randn(len(scattered()), channels), torch.randn(125, channels, 16)
    runs = []
    for _ in range(2):
        inputs = [features.clone().requires_grad_(), weight.clone().requires_grad_()]
        out = sparse_conv(inputs[0], SparseGeometry(scattered()).submanifold(1, 5), inputs[1])
        out.square().sum().backward()
        runs.append([out, inputs[0].grad, inputs[1].grad])
    assert all(torch.equal(first, second) for first, second in zip(*runs))


def test_training_after_inference_in_the_same_thread() -> None:
    """Buffers first made under inference mode were once refused by the training that came after."""
    convolution_module._buffers.by_name.clear()
    geometry = SparseGeometry(scattered())
    features = torch.randn(len(geometry.coords(1)), 3)
    weight = torch.randn(27, 3, 4, requires_grad=True)
    with torch.inference_mode():
        expected = sparse_conv(features, geometry.submanifold(1, 3), weight)
    result = sparse_conv(features, SparseGeometry(scattered()).submanifold(1, 3), weight)
    result.sum().backward()
    assert torch.equal(result, expected)
    assert weight.grad is not None


def test_clouds_of_a_batch_do_not_touch() -> None:
    torch.manual_seed(0)
    coords = scattered()
    features, weight = torch.randn(len(coords), 12), torch.randn(27, 12, 4)
    joint = sparse_conv(features, SparseGeometry(coords).submanifold(1, 3), weight)
    for cloud in (0, 1):
        mine = coords[:, 0] == cloud
        alone = sparse_conv(features[mine], SparseGeometry(coords[mine]).submanifold(1, 3), weight)
        torch.testing.assert_close(joint[mine], alone)


@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize("voxels", [0, 1])
def test_no_voxel_and_one_voxel(voxels: int, channels: int) -> None:
    geometry = SparseGeometry(torch.tensor([[0, 4, 5, 6]])[:voxels])
    features = torch.ones(voxels, channels, requires_grad=True)
    weight = torch.ones(27, channels, 2, requires_grad=True)
    out = sparse_conv(features, geometry.submanifold(1, 3), weight)
    assert out.tolist() == [[float(channels)] * 2] * voxels
    out.sum().backward()
    assert weight.grad is not None
    assert float(weight.grad.sum()) == 2 * channels * voxels
    down = sparse_conv(features, geometry.down(1), torch.ones(8, channels, 2))
    assert sparse_conv(down, geometry.up(1), torch.ones(8, 2, 3)).shape == (voxels, 3)


def test_autocast_computes_in_its_type_with_float32_gradients() -> None:
    torch.manual_seed(0)
    kernel_map = SparseGeometry(scattered()).submanifold(1, 3)
    features = torch.randn(kernel_map.num_inputs, 16, requires_grad=True)
    weight = torch.randn(27, 16, 16).div_(16).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = sparse_conv(features, kernel_map, weight)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), slow_conv(features, kernel_map, weight), atol=0.05, rtol=0.05)
    out.float().sum().backward()
    assert features.grad is not None
    assert weight.grad is not None
    assert features.grad.dtype == weight.grad.dtype == torch.float32


def test_memory_is_bounded_on_large_clouds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(convolution_module, "bound_freed_memory", lambda: calls.append(True))
    kernel_map = SparseGeometry(scattered()).submanifold(1, 3)
    features, weight = torch.ones(kernel_map.num_inputs, 16), torch.ones(27, 16, 16, requires_grad=True)
    sparse_conv(features, kernel_map, weight).sum().backward()
    assert not calls
    monkeypatch.setattr(convolution_module, "LARGE_BYTES", features.nbytes)
    sparse_conv(features, kernel_map, weight).sum().backward()
    assert len(calls) == 2


def test_shapes_that_do_not_fit_are_named() -> None:
    kernel_map = SparseGeometry(scattered()).submanifold(1, 3)
    with pytest.raises(InputError, match="27 offsets"):
        sparse_conv(torch.zeros(kernel_map.num_inputs, 4), kernel_map, torch.zeros(8, 4, 4))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu() -> None:
    torch.manual_seed(0)
    coords = scattered()
    features, weight = torch.randn(len(coords), 16), torch.randn(27, 16, 8)
    results = []
    for device in ("cpu", "cuda"):
        inputs = [tensor.to(device).requires_grad_() for tensor in (features, weight)]
        out = sparse_conv(inputs[0], SparseGeometry(coords.to(device)).submanifold(1, 3), inputs[1])
        out.square().sum().backward()
        results.append([out.cpu(), *(tensor.grad.cpu() for tensor in inputs if tensor.grad is not None)])
    for on_cpu, on_cuda in zip(*results):
        torch.testing.assert_close(on_cpu, on_cuda, atol=1e-3, rtol=1e-3)
