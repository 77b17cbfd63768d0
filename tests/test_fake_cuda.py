"""The fake CUDA device: it refuses what CUDA refuses, allows what CUDA allows, and computes what the CPU computes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from helpers.fake_cuda import CudaTensor, FakeCuda


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    with FakeCuda() as device:
        yield device


def grid(device: str) -> Tensor:
    return torch.arange(12.0, device=device).reshape(3, 4)


REFUSED: dict[str, Callable[[], object]] = {
    "two tensors": lambda: grid("cuda") + torch.ones(4),
    "a scalar of the device beside a tensor of the CPU": lambda: torch.ones(4) + grid("cuda").sum(),
    "rows chosen on the CPU": lambda: grid("cuda").index_select(0, torch.tensor([0])),
    "indices of the device into the CPU": lambda: grid("cpu")[torch.tensor([0]).cuda()],
    "joining": lambda: torch.cat([grid("cuda"), grid("cpu")]),
    "writing to the CPU": lambda: torch.mm(grid("cuda"), grid("cuda").T, out=torch.empty(3, 3)),
    "adding to the CPU": lambda: torch.ones(()).add_(grid("cuda").sum()),
    "putting values of the CPU": lambda: grid("cuda").index_put_((torch.tensor([0]),), torch.ones(4)),
    "a layer on the CPU": lambda: nn.Linear(4, 2)(grid("cuda")),
    "a target on the CPU": lambda: functional.cross_entropy(grid("cuda"), torch.tensor([0, 1, 2])),
    "a generator of the CPU": lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
    "comparison": lambda: torch.equal(grid("cuda"), grid("cpu")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses_is_refused(fake: FakeCuda, name: str) -> None:
    with pytest.raises(RuntimeError, match="device"):
        REFUSED[name]()


@pytest.mark.parametrize("read", [lambda value: value.numpy(), np.asarray])
def test_numpy_cannot_read_the_device(fake: FakeCuda, read: Callable[[Tensor], object]) -> None:
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        read(grid("cuda"))


def put(values: Tensor) -> Tensor:
    values[1:, :2] = 7.0
    values[torch.tensor([0])] = values[2] * 2
    return values


ALLOWED: dict[str, Callable[[Tensor], Tensor]] = {
    "a scalar of the CPU": lambda values: values * torch.tensor(2.0),
    "indices of the CPU": lambda values: values[torch.tensor([2, 0])],
    "a mask of the CPU": lambda values: values[torch.tensor([True, False, True])],
    "a list of indices": lambda values: values[[2, 0]],
    "a mask of the device": lambda values: values[values > 4],
    "new values": lambda values: values.new_tensor([1.0, 2.0]) + values.new_zeros(2),
    "writing through views": put,
    "a copy from the CPU": lambda values: values.copy_(torch.ones(3, 4)),
    "inference": torch.inference_mode()(lambda values: functional.linear(values[:, :2].to(values), values[:, :2])),
    "attention": lambda values: functional.scaled_dot_product_attention(values[None], values[None], values[None]),
    "changes of shape in place": lambda values: values.unsqueeze_(0).transpose_(0, 1),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_cuda_allows_gives_the_values_of_the_cpu(fake: FakeCuda, name: str) -> None:
    found, expected = ALLOWED[name](grid("cuda")), ALLOWED[name](grid("cpu"))
    assert isinstance(found, CudaTensor)
    assert found.device == torch.device("cuda:0")
    assert found.shape == expected.shape
    assert torch.equal(found.cpu(), expected)


def test_a_network_trains_on_the_device_as_on_the_cpu(fake: FakeCuda) -> None:
    def trained(device: str) -> tuple[nn.Module, Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
        optimiser = torch.optim.AdamW(network.parameters(), fused=True)
        weights = [*network.parameters()]
        network.to(device)
        assert all(old is new for old, new in zip(weights, network.parameters()))  # the optimiser holds these
        for _ in range(3):
            optimiser.zero_grad()
            loss = network(torch.rand(2, 3, 6, 6).to(device)).square().mean()
            loss.backward()
            optimiser.step()
        return network, loss

    (network, loss), (other, expected) = trained("cuda"), trained("cpu")
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
    for ours, value in zip(network.parameters(), other.parameters()):
        assert ours.is_cuda
        torch.testing.assert_close(ours.detach().cpu(), value.detach())
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    assert not any(value.is_cuda for value in torch.load(file, map_location="cpu", weights_only=True).values())


def test_autocast_narrows_products(fake: FakeCuda) -> None:
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert (grid("cuda") @ grid("cuda").T).dtype == torch.bfloat16
        assert functional.softmax(grid("cuda").bfloat16(), dim=0).dtype == torch.float32


def test_copies_and_waits_are_counted(fake: FakeCuda) -> None:
    values = torch.ones(3, 4).to("cuda")
    assert bool(values.sum() > 0)
    assert values.cpu().shape == values[values > 0].reshape(3, 4).shape
    assert fake.bytes_to_device == 48
    assert dict(fake.waits) == {"_local_scalar_dense": 1, "copy to the CPU": 1, "nonzero": 1}


def test_threads_have_the_device_too(fake: FakeCuda) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: grid("cuda").sum().item()).result() == 66.0
        with pytest.raises(RuntimeError, match="same device"):
            pool.submit(REFUSED["two tensors"]).result()


class OnDevice(Dataset[Tensor]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Tensor:
        return grid("cuda").cpu()


def test_a_worker_of_a_loader_cannot_use_the_device(fake: FakeCuda) -> None:
    assert len([*DataLoader(OnDevice(), batch_size=None)]) == 1
    with pytest.raises(RuntimeError, match="forked subprocess"):
        list(DataLoader(OnDevice(), batch_size=None, num_workers=1, multiprocessing_context="fork"))


def test_the_device_is_gone_afterwards() -> None:
    seen = torch.cuda.is_available()
    with FakeCuda():
        assert torch.cuda.device_count() == 1
    assert torch.cuda.is_available() == seen
