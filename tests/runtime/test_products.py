"""Products by oneDNN: equal to PyTorch's, chosen by CPU and environment, without a trace in weights or gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from labelfree.runtime import products
from labelfree.runtime.products import FastLinear, onednn_is_chosen, products_for, use_fast_linear

AMD_WITH_AVX512 = {"cpu_name": "AMD EPYC 9R14", "avx512_f": True}


@pytest.fixture(autouse=True)
def _fresh_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(products.SWITCH, raising=False)
    for choice in (onednn_is_chosen, products._is_amd_with_avx512):
        choice.cache_clear()
    yield
    for choice in (onednn_is_chosen, products._is_amd_with_avx512):
        choice.cache_clear()


@pytest.fixture(params=["0", "1"])
def _mkl_and_onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "1" and not products._onednn_works():
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setenv(products.SWITCH, request.param)


@pytest.mark.usefixtures("_mkl_and_onednn")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("rows", [0, 1, 37])
def test_products_equal_matmul(dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(0)
    first, second = torch.randn(rows, 24, dtype=dtype), torch.randn(16, 24, dtype=dtype).t()
    kind, close = products_for(first), 0.05 if dtype == torch.bfloat16 else 1e-5
    out = torch.empty(rows, 16, dtype=dtype)
    kind.write(first, second, out)
    torch.testing.assert_close(out, first @ second, atol=close, rtol=close)
    total = torch.ones(24, 16, dtype=torch.promote_types(dtype, torch.float32))
    kind.add(first.t(), out, total)
    expected = 1 + first.double().t() @ out.double()
    torch.testing.assert_close(total.double(), expected, atol=4 * close, rtol=4 * close)


@pytest.mark.parametrize(
    ("capabilities", "switch", "expected"),
    [
        (AMD_WITH_AVX512, None, True),
        (AMD_WITH_AVX512, "0", False),
        ({"cpu_name": "AMD EPYC", "avx512_f": False}, None, False),
        ({"cpu_name": "AMD EPYC", "avx512_f": False}, "1", True),
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_f": True}, None, False),
        ({}, None, False),
    ],
)
def test_choice(
    capabilities: dict[str, object], switch: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(products, "_onednn_works", lambda: True)
    if switch is not None:
        monkeypatch.setenv(products.SWITCH, switch)
    assert onednn_is_chosen() == expected


def test_an_operation_that_fails_or_differs_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Tensor:
        raise RuntimeError("not compiled in")

    def differs(*_: object) -> Tensor:
        return torch.zeros(3, 5)

    for operation in (fails, differs):
        monkeypatch.setattr(products, "_operation", lambda operation=operation: operation)
        products._onednn_works.cache_clear()
        assert not products._onednn_works()
    products._onednn_works.cache_clear()


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 5, bias=False)).requires_grad_(False)


@pytest.mark.usefixtures("_mkl_and_onednn")
def test_fast_linear_layers_equal_plain_ones() -> None:
    plain, fast, values = model(), model(), torch.randn(2, 3, 12)
    use_fast_linear(fast)
    assert isinstance(fast[0], FastLinear) == onednn_is_chosen()
    assert list(fast.state_dict()) == list(plain.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(fast(values), plain(values))
        assert fast(values[:0]).shape == (0, 3, 5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(fast(values), plain(values))
    grads = [_gradient(network, values) for network in (plain, fast)]
    assert torch.equal(grads[0], grads[1])


def _gradient(network: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    leaf = values.clone().requires_grad_()
    network(leaf).square().sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.usefixtures("_mkl_and_onednn")
def test_other_number_formats_keep_their_layers() -> None:
    network = model().to(torch.bfloat16)
    use_fast_linear(network)
    assert type(network[0]) is nn.Linear
