"""A CUDA device that this machine need not have: its tensors compute on the CPU and refuse what CUDA refuses.

`FakeCuda` is a context. Inside, PyTorch reports one CUDA device, and whatever is created there or moved there is a
`CudaTensor`: a shell without storage around a tensor on the CPU. Every operation on it runs on the tensors inside, so
values, sizes that depend on data, and gradients are those of the CPU. The devices are checked as CUDA checks them: an
operation over both devices raises PyTorch's RuntimeError, except where CUDA takes scalars or indices from the CPU.

It cannot show what only a GPU shows: kernels that lack a data type, other rounding, memory, streams, several devices.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, NoReturn
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda:0")
SHELL = torch.device("meta")
"""The device that PyTorch's C++ code sees; it has no kernels, so nothing runs unseen."""
CPU = torch.device("cpu")

NARROW = frozenset(
    {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm"}
    | {"addmm", "baddbmm", "einsum", "scaled_dot_product_attention"}
)
"""Functions that autocast runs in 16 bits."""
WIDE = frozenset(
    {"layer_norm", "group_norm", "softmax", "log_softmax", "cross_entropy", "nll_loss", "cosine_similarity", "norm"}
    | {"normalize", "interpolate", "sum", "prod", "cumsum", "exp", "log", "pow", "__pow__", "rsqrt", "reciprocal"}
)
"""Functions that autocast runs in float32."""

aten = torch.ops.aten
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
"""The dispatcher's name of operations that are made of others."""
CROSSING = {aten._to_copy.default, aten.copy_.default}
"""Operations that move values between devices."""
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
"""Operations whose indices may stay on the CPU."""
SCALAR_TAKING = {aten.fill_.Tensor, aten.masked_fill_.Tensor, aten.masked_fill.Tensor}
"""Operations that take a scalar from the CPU, beside those that work element by element."""
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "equal"}
"""Operations for which the CPU waits until the device has finished everything before."""
HANDLED = {Tensor.cuda, Tensor.to, Tensor.pin_memory, Tensor.new_tensor, Tensor.__getitem__, Tensor.__setitem__}
"""Python's functions that name a device without a keyword, or read values that the shells lack."""


class CudaTensor(Tensor):
    """A tensor on the fake device."""

    host: Tensor
    """The tensor on the CPU that holds the values."""

    @staticmethod
    def __new__(cls, host: Tensor) -> CudaTensor:
        # A view of a normal tensor is normal in inference mode too
        with torch._C.DisableTorchFunction(), torch.inference_mode(host.is_inference()):
            elements = host.untyped_storage().nbytes() // host.element_size()
            storage = torch.empty(elements, dtype=host.dtype, device=SHELL)
            shell = storage.as_strided(host.shape, host.stride(), host.storage_offset())
            made = Tensor._make_subclass(cls, shell, False, device_for_backend_keys=CUDA)
        made.host = host
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(func, args, dict(kwargs or {}), None)

    # `Module.to` keeps its parameters' identity for a subclass that can be taken apart, as it does on a real device.
    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["host"], None

    @staticmethod
    def __tensor_unflatten__(parts: Mapping[str, Tensor], meta: None, size: Any, stride: Any) -> CudaTensor:
        return CudaTensor(parts["host"])

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    is_meta = property(lambda self: False)

    def get_device(self) -> int:
        return 0

    def item(self) -> Any:
        return aten._local_scalar_dense(self) if self.numel() == 1 else self.host.item()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self.cpu().__index__()

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else self.cpu(), spec)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.cpu().numpy()
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
            "first."
        )

    def data_ptr(self) -> NoReturn:
        raise RuntimeError("A tensor of the fake device has no address: do not hand it to code outside PyTorch.")

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        return torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.host.__reduce_ex__(protocol)  # a file that is read with map_location="cpu"

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{self.host!r} on {CUDA}"


class FakeCuda:
    """A context in which PyTorch has one CUDA device, in this thread and in those that start inside.

    Afterwards it holds what the device was asked to do.
    """

    def __init__(self, capability: tuple[int, int] = (8, 0)) -> None:
        self.capability = capability
        self.operations = 0
        """Number of operations on the device."""
        self.waits: Counter[str] = Counter()
        """Number of times the CPU waited for the device, by operation."""
        self.bytes_to_device = 0
        """Bytes that were copied from the CPU to the device."""
        self.process = os.getpid()
        self._entered = ExitStack()

    def __enter__(self) -> FakeCuda:
        for name, value in _cuda_functions(self.capability).items():
            self._entered.enter_context(mock.patch.object(torch.cuda, name, value))
        run = threading.Thread.run

        def run_on_device(thread: threading.Thread) -> None:
            with _Devices(), _Operations(self):  # modes belong to a thread
                run(thread)

        self._entered.enter_context(mock.patch.object(threading.Thread, "run", run_on_device))
        self._entered.enter_context(_Devices())
        self._entered.enter_context(_Operations(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.close()

    def count(self, func: Any, args: tuple[Any, ...], to_cuda: bool) -> None:
        """Count one operation, what it copies to the device, and whether the CPU waits for it.

        Raises CUDA's error in a forked process, such as a worker of a data loader.
        """
        if os.getpid() != self.process:
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess.")
        name = func.overloadpacket.__name__
        self.operations += 1
        if func in CROSSING:
            source = args[1] if func is aten.copy_.default else args[0]
            if to_cuda and not isinstance(source, CudaTensor):
                self.bytes_to_device += source.nbytes
            if not to_cuda:
                self.waits["copy to the CPU"] += 1
        if func in INDEXING and any(isinstance(index, CudaTensor) and index.dtype == torch.bool for index in args[1]):
            name = "nonzero"
        if name in WAITING:
            self.waits[name] += 1


class _Devices(TorchFunctionMode):
    """Replace CUDA devices in Python's calls by the shell's, before C++ code asks for a driver."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if not kwargs and func not in HANDLED and not torch.is_autocast_enabled("cuda"):
            return func(*args)
        given = dict(kwargs or {})
        if func is Tensor.cuda:
            return args[0].to(SHELL)
        if func is Tensor.pin_memory:
            return args[0]
        if func in {torch.tensor, torch.as_tensor, torch.asarray} and _is_cuda(given.get("device")):
            given["device"] = CPU  # for the shell's device they leave the values out
            return func(*args, **given).to(SHELL)
        if func is Tensor.new_tensor and isinstance(args[0], CudaTensor) and given.get("device") is None:
            return args[0].host.new_tensor(*args[1:], **given).to(SHELL)
        if func in {Tensor.__getitem__, Tensor.__setitem__} and isinstance(args[0], CudaTensor):
            args = (args[0], _index(args[1]), *args[2:])
        if _is_cuda(given.get("device")):
            given["device"] = SHELL
        if func is Tensor.to:
            args = tuple(SHELL if _is_cuda(value) else value for value in args)
        if torch.is_autocast_enabled("cuda"):
            args, given = _autocast(func, args, given)
        return func(*args, **given)


class _Operations(TorchDispatchMode):
    """Run every operation, those over CPU tensors alone too: they may create tensors on the device."""

    def __init__(self, counts: FakeCuda) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if torch.is_inference_mode_enabled() and _is_composite(func.name()):  # else autograd has taken it apart
            with self:
                return func._op_dk(COMPOSITE, *args, **given)
        return _run(func, args, given, self.counts)


@cache
def _is_composite(name: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, COMPOSITE)


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], counts: FakeCuda | None) -> Any:
    """Check the devices, run the operation on the CPU, and put its results on the device that CUDA puts them on."""
    tensors = _tensors(args) + _tensors(kwargs.values())
    on_cuda = {id(value.host): value for value in tensors if isinstance(value, CudaTensor)}
    target = kwargs.get("device")
    to_cuda = bool(on_cuda) if target is None else torch.device(target).type != "cpu"
    if not on_cuda and not to_cuda:
        return func(*args, **kwargs)
    if func is aten.copy_.default:
        to_cuda = isinstance(args[0], CudaTensor)
    _check_devices(func, args, kwargs, tensors)
    _check_generator(kwargs.get("generator"))
    if counts is not None:
        counts.count(func, args, to_cuda)
    if target is not None:
        kwargs["device"] = CPU
    host_args, host_kwargs = _mapped(_host, args), _mapped(_host, kwargs)
    result = func(*host_args, **host_kwargs)
    if torch.Tag.inplace_view in func.tags:
        with no_dispatch():
            func(*args, **kwargs)  # the shells change as well
    if not to_cuda:
        return args[0] if func is aten.copy_.default else result
    return _mapped(lambda value: on_cuda[id(value)] if id(value) in on_cuda else CudaTensor(value), result)


def _host(value: Tensor) -> Tensor:
    return value.host if isinstance(value, CudaTensor) else value


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """Return the tensors in nested arguments."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def _mapped(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Return nested arguments with every tensor replaced."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: _mapped(function, part) for name, part in value.items()}
    if isinstance(value, list | tuple) and type(value) in {list, tuple}:
        return type(value)(_mapped(function, part) for part in value)
    return value


def _check_devices(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], tensors: Sequence[Tensor]) -> None:
    """Raise the RuntimeError of CUDA for an operation over both devices."""
    on_cpu = [value for value in tensors if not isinstance(value, CudaTensor)]
    if func in CROSSING or not on_cpu:
        return
    if func in INDEXING:
        allowed = {id(index) for index in args[1] if index is not None}
        allowed |= {id(value) for value in args[2:3] if value.dim() == 0}
        if not isinstance(args[0], CudaTensor):
            _refuse(func, "indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    elif torch.Tag.pointwise in func.tags or func in SCALAR_TAKING:
        allowed = {id(value) for value in on_cpu if value.dim() == 0} - _written(func, args, kwargs)
    else:
        allowed = set()
    if any(id(value) not in allowed for value in on_cpu):
        _refuse(func, "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!")


def _written(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> set[int]:
    """Return the ids of the tensors that an operation writes to."""
    written: set[int] = set()
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = kwargs.get(argument.name, args[place] if place < len(args) else None)
            written |= {id(part) for part in _tensors([value])}
    return written


def _check_generator(generator: torch.Generator | None) -> None:
    if generator is not None and generator.device.type == "cpu":
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")


def _autocast(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments in the type of autocast, whose C++ code takes the shells for tensors without it."""
    name = getattr(func, "__name__", "")
    if name not in NARROW | WIDE:
        return args, kwargs
    dtype = torch.get_autocast_dtype("cuda") if name in NARROW else torch.float32

    def cast(value: Tensor) -> Tensor:
        eligible = value.is_cuda and value.is_floating_point() and value.dtype != torch.float64
        return value.to(dtype) if eligible else value

    return _mapped(cast, args), _mapped(cast, kwargs)


def _index(index: Any) -> Any:
    """Return an index with tensors in place of lists, whose values the shell's device would leave out."""
    parts = index if isinstance(index, tuple) else (index,)
    made = tuple(torch.tensor(part) if isinstance(part, list) else part for part in parts)
    return made if isinstance(index, tuple) else made[0]


def _refuse(func: Any, reason: str) -> NoReturn:
    raise RuntimeError(f"{reason} (in {func})")


def _is_cuda(value: object) -> bool:
    if isinstance(value, str):
        return value.partition(":")[0] == "cuda"
    return isinstance(value, torch.device) and value.type == "cuda"


def _cuda_functions(capability: tuple[int, int]) -> dict[str, Callable[..., Any]]:
    """Return what `torch.cuda` answers about the fake device."""
    return {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
        "manual_seed_all": lambda seed: None,
        "get_device_name": lambda device=None: "fake CUDA device",
        "get_device_capability": lambda device=None: capability,
        "is_bf16_supported": lambda including_emulation=True: including_emulation or capability[0] >= 8,
    }
