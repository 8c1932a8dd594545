"""A GPU that is none: tensors keep to their device or fail as on CUDA, the CPU computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_WRITERS = {Tensor.__setitem__, Tensor.copy_}
_READERS = {Tensor.__getitem__, Tensor.__setitem__}
_JOINERS = {torch.cat, torch.stack}
_TO_HOST = {Tensor.numpy, Tensor.__array__}


@contextmanager
def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGpu]:
    """Within it, "cuda" is available and every operation is checked for mixed devices."""
    with monkeypatch.context() as patch, PretendGpu() as gpu:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        patch.setattr(torch.cuda, "get_device_name", lambda *_: "pretended")
        yield gpu


class PretendGpu(TorchFunctionMode):
    """Marks tensors that would be on the GPU; ``n_operations`` counts what was done there."""

    def __init__(self) -> None:
        super().__init__()
        self.n_operations = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__qualname__", "") or getattr(func, "__name__", "")
        getter = getattr(getattr(func, "__self__", None), "__name__", "")
        if getter == "device" and name.endswith("__get__"):
            return torch.device("cuda", 0) if on_gpu(args[0]) else torch.device("cpu")
        if getter == "is_cuda" and name.endswith("__get__"):
            return on_gpu(args[0])
        if getter == "data" and name.endswith("__set__"):
            func(*args)
            return _mark([args[0]], on_gpu(args[1]))
        if func is torch._has_compatible_shallow_copy_type:
            return True
        if func is torch.Tensor.cpu:
            return self._moved(args[0], gpu=False)
        if func is torch.Tensor.to:
            wanted = _wanted_device((*args[1:], *kwargs.values()))
            like = [a.dtype for a in args[1:] if isinstance(a, Tensor)]
            types_ = like + [a for a in (*args[1:], *kwargs.values()) if isinstance(a, torch.dtype)]
            moved = func(args[0], types_[0]) if types_ else args[0]
            return self._moved(moved, gpu=on_gpu(args[0]) if wanted is None else wanted)
        if func in _TO_HOST and on_gpu(args[0]):
            raise TypeError("can't convert a cuda tensor to numpy")
        asked = kwargs.get("device")
        if asked is not None:
            kwargs["device"] = "cpu"
        tensors = list(_tensors((args, kwargs)))
        marked = [t for t in tensors if on_gpu(t)]
        if marked:
            self.n_operations += 1
            _check(func, name, args, tensors)
        result = func(*args, **kwargs)
        gpu = bool(marked) if asked is None else torch.device(asked).type == "cuda"
        _mark(_tensors(result), gpu or (func in _WRITERS and on_gpu(args[0])))
        return result

    @staticmethod
    def _moved(tensor: Tensor, *, gpu: bool) -> Tensor:
        with torch._C.DisableTorchFunction():
            moved = tensor if on_gpu(tensor) == gpu else tensor.view_as(tensor)
        _mark([moved], gpu)
        return moved


def on_gpu(value: Any) -> bool:
    """Whether a tensor would be on the GPU."""
    return "pretended" in getattr(value, "__dict__", ())


def _mark(tensors: Any, gpu: bool) -> None:
    for tensor in tensors:
        if gpu:
            tensor.__dict__["pretended"] = True
        else:
            tensor.__dict__.pop("pretended", None)


def _check(func: Any, name: str, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
    """CUDA's rule: scalars of the CPU may join, indices may lie there, copies may cross."""
    with torch._C.DisableTorchFunction():
        strangers = [t for t in tensors if not on_gpu(t) and (t.ndim > 0 or func in _JOINERS)]
    if func in _READERS:
        indices = {id(t) for t in _tensors(args[1])}
        strangers = [t for t in strangers if id(t) not in indices]
        if func is Tensor.__setitem__ and not any(True for _ in _tensors(args[1])):
            return
    if strangers and func is not Tensor.copy_:
        raise RuntimeError(f"{name}: expected all tensors on one device, found cuda and cpu")


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)


def _names_device(value: Any) -> bool:
    return isinstance(value, torch.device | str)


def _wanted_device(values: tuple[Any, ...]) -> bool | None:
    for value in values:
        if _names_device(value):
            return torch.device(value).type == "cuda"
        if isinstance(value, Tensor):
            return on_gpu(value)
    return None
