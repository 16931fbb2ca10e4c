"""What is scored: one module and one batch, on one device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from proxies.errors import ProxyError, UndefinedProxyError
from proxies.isolation import lent
from proxies.passes.calls import bound_conv2d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

__all__ = ["Subject", "subject_of"]


@dataclass(frozen=True)
class Subject:
    """One module and one batch, prepared for measuring; made by :func:`subject_of`.

    Parameters
    ----------
    model
        The network, which no measurement changes.
    inputs
        What its forward takes, each of shape ``(B, ...)``, on `device`; floating-point inputs in
        the model's type.
    labels
        Labels of shape ``(B, ...)`` on `device`, or None.
    loss
        Mean loss over a batch, a function of output and labels; cross-entropy if None.
    seed
        Seed of whatever a measurement draws.
    device
        Where measurements run.
    micro_batch
        Samples to take at a time, if fewer than B.
    dtype
        Floating-point type to measure in, the model's own if None.
    channels_last
        Whether images and the weights of convolutions lie in memory with channels last.
    """

    model: nn.Module
    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor | None
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None
    seed: int
    device: torch.device
    micro_batch: int | None
    dtype: torch.dtype | None = None
    channels_last: bool = False

    @property
    def batch_size(self) -> int:
        """The number of samples B."""
        return self.inputs[0].shape[0]

    def lent(
        self,
        *,
        training: bool,
        dtype: torch.dtype | None = None,
        absolute: bool = False,
        redraw: torch.Generator | None = None,
    ) -> AbstractContextManager[dict[str, nn.Parameter]]:
        """Lend the model for a measurement; see :func:`proxies.isolation.lent`."""
        return lent(
            self.model,
            self.device,
            self.seed,
            training=training,
            dtype=self.dtype if dtype is None else dtype,
            absolute=absolute,
            redraw=redraw,
            channels_last=self.channels_last,
        )

    def laid_out(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor in the memory layout to measure in, itself if it is."""
        if self.channels_last and tensor.ndim == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the model's output for `inputs`, which it may change in place.

        Raises
        ------
        UndefinedProxyError
            If the output is not one floating-point tensor.
        """
        output: Any = self.model(*inputs)
        if not isinstance(output, torch.Tensor):
            raise UndefinedProxyError(
                f"expected one tensor from the model, found {type(output).__name__}; "
                "wrap the model so that its forward returns the tensor to score"
            )
        if not output.is_floating_point():
            raise UndefinedProxyError(
                f"expected a floating-point output from the model, found {output.dtype}"
            )
        return output

    @property
    def precision(self) -> float:
        """The largest relative rounding of the floating-point types that are computed in."""
        return max((torch.finfo(kind).eps for kind in self.kinds), default=0.0)

    @property
    def kinds(self) -> list[torch.dtype]:
        """The floating-point types that are computed in."""
        if self.dtype is not None:
            return [self.dtype]
        found = {p.dtype for p in self.model.parameters() if p.is_floating_point()}
        return sorted(found, key=str)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify the batch (its values, types and shapes)."""
        digest = hashlib.sha256()
        for tensor in (*self.inputs, *(() if self.labels is None else (self.labels,))):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]


def subject_of(
    model: nn.Module,
    batch: tuple[torch.Tensor | tuple[torch.Tensor, ...], torch.Tensor | None],
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    micro_batch: int | None = None,
    dtype: torch.dtype | str | None = None,
) -> Subject:
    """Check the arguments of a scoring and move the batch to the device.

    Parameters
    ----------
    model, batch, seed, device, loss, micro_batch, dtype
        See :func:`proxies.score`.

    Raises
    ------
    ProxyError
        If an argument cannot be used.
    """
    if not isinstance(model, nn.Module):
        raise ProxyError(f"expected a torch.nn.Module to score, found {type(model).__name__}")
    if micro_batch is not None and micro_batch < 1:
        raise ProxyError(f"expected micro_batch to be at least 1, found {micro_batch}")
    if not 0 <= seed < 2**63:
        raise ProxyError(f"expected a seed from 0 to 2**63 - 1, found {seed}")
    # Compiled code would not be seen by the passes; what it was compiled from computes the same.
    model = getattr(model, "_orig_mod", model)
    inputs, labels = _checked(batch)
    place = _device(model, device)
    kinds = [p.dtype for p in model.parameters() if p.is_floating_point()]
    asked = _dtype(dtype)
    kind = asked or (kinds[0] if kinds else None)
    prepared = [
        tensor.detach().to(place, kind if tensor.is_floating_point() else None) for tensor in inputs
    ]
    subject = Subject(
        model=model,
        inputs=tuple(prepared),
        labels=None if labels is None else labels.detach().to(place),
        loss=loss,
        seed=seed,
        device=place,
        micro_batch=micro_batch,
        dtype=asked,
    )
    return _in_best_layout(subject)


def _in_best_layout(subject: Subject) -> Subject:
    """Put channels last where that is faster (twice, for convolutions on CPUs) and works.

    It does not work where the model views an image as a vector, which such a layout is not, and
    must not be tried where it would have oneDNN write past its memory, see `_NarrowStrides`.
    """
    images = any(isinstance(module, nn.Conv2d) for module in subject.model.modules())
    if subject.device.type != "cpu" or not images:
        return subject
    tried = replace(subject, channels_last=True)
    narrow = _NarrowStrides()
    try:
        with tried.lent(training=False), torch.no_grad(), narrow:
            tried.forward(tuple(tried.laid_out(x[:1].clone()) for x in tried.inputs))
    except Exception:  # noqa: BLE001 - what else may be wrong with it, the passes will say
        return subject
    return subject if narrow.found else tried


class _NarrowStrides(TorchFunctionMode):
    """Notes convolutions of 1 × 1 with a stride and fewer than eight channels a group.

    With channels last, oneDNN's derivative by their weights writes past a buffer where the
    processor has AVX2 at most (github.com/uxlfoundation/oneDNN/issues/6035): wrong gradients, or
    a crash some time later.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call, and note it if it is such a convolution."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "conv2d":
            call = bound_conv2d(args, kwargs)
            if call is not None:
                _, inner, *kernel = call.weight.shape
                self.found |= inner < 8 and kernel == [1, 1] and max(call.geometry[0]) > 1
        return func(*args, **kwargs)


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Return the floating-point type asked for."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found is not None and not (isinstance(found, torch.dtype) and found.is_floating_point):
        found = None
    if found is None and dtype is not None:
        raise ProxyError(
            f"expected a type such as float32, bfloat16 or float64, found {str(dtype)!r}"
        )
    return found


def _checked(batch: Any) -> tuple[tuple[torch.Tensor, ...], torch.Tensor | None]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ProxyError(f"expected a batch (x, y), found {type(batch).__name__}")
    x, y = batch
    inputs = tuple(x) if isinstance(x, tuple | list) else (x,)
    for tensor in (*inputs, *(() if y is None else (y,))):
        if not isinstance(tensor, torch.Tensor):
            raise ProxyError(f"expected tensors in the batch, found {type(tensor).__name__}")
    sizes = {
        len(tensor) if tensor.ndim else 0 for tensor in (*inputs, *(() if y is None else (y,)))
    }
    if len(sizes) != 1 or sizes == {0}:
        raise ProxyError(
            "expected x and y with the same number of samples, at least one, "
            f"found {' and '.join(map(str, sorted(sizes)))}"
        )
    return inputs, y


def _device(model: nn.Module, device: str | torch.device) -> torch.device:
    """Return the device asked for; "auto" is the model's own accelerator, else CUDA, else CPU."""
    if device == "auto":
        own = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        if own.type not in ("cpu", "meta"):
            return own
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ProxyError(
            f"expected a device such as auto, cpu or cuda:0, found {device!r}"
        ) from error
