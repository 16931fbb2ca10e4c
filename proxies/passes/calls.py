"""Reading the arguments of the functional calls that passes watch or replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LAYERS", "AvgPool2d", "Conv2d", "bound_avg_pool2d", "bound_batch_norm", "bound_conv2d"]

# The functions that every convolution and linear layer ends up calling.
LAYERS = frozenset(
    {
        *("conv1d", "conv2d", "conv3d", "linear"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    }
)
_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_AVERAGE_POOL = (
    *("input", "kernel_size", "stride", "padding", "ceil_mode"),
    *("count_include_pad", "divisor_override"),
)
_BATCH_NORMS = {
    functional.batch_norm: (
        *("input", "running_mean", "running_var", "weight", "bias"),
        *("training", "momentum", "eps"),
    ),
    # What the first calls; some models call it themselves.
    torch.batch_norm: (
        *("input", "weight", "bias", "running_mean", "running_var"),
        *("training", "momentum", "eps", "cudnn_enabled"),
    ),
}
_BATCH_NORM_DEFAULTS = {
    "weight": None,
    "bias": None,
    "training": False,
    "momentum": 0.1,
    "eps": 1e-5,
}


@dataclass(frozen=True)
class Conv2d:
    """The arguments of one call of ``conv2d``.

    Parameters
    ----------
    input, weight, bias
        As given.
    geometry
        Stride, padding and dilation, a pair each, and the number of groups.
    """

    input: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    geometry: tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]


@dataclass(frozen=True)
class AvgPool2d:
    """The arguments of one call of ``avg_pool2d``.

    Parameters
    ----------
    input
        As given.
    geometry
        Kernel size, stride and padding, a pair each, whether to round sizes up, whether padding
        counts, and what to divide by.
    """

    input: torch.Tensor
    geometry: tuple[Any, ...]


def bound_avg_pool2d(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> AvgPool2d | None:
    """Return the arguments of a call of ``avg_pool2d``, or None for an image without a batch.

    Parameters
    ----------
    args, kwargs
        As the function was called.
    """
    given = {**dict(zip(_AVERAGE_POOL, args, strict=False)), **kwargs}
    if given["input"].ndim != 4:
        return None
    kernel = _pair(given["kernel_size"])
    stride = given.get("stride")
    # No stride, or an empty one, means that windows do not overlap.
    geometry = (
        kernel,
        _pair(stride) if stride not in (None, (), []) else kernel,
        _pair(given.get("padding", 0)),
        bool(given.get("ceil_mode", False)),
        bool(given.get("count_include_pad", True)),
        given.get("divisor_override"),
    )
    return AvgPool2d(given["input"], geometry)


def bound_conv2d(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Conv2d | None:
    """Return the arguments of a call of ``conv2d``, or None where they are of another form.

    Other forms are images without a batch, and padding that differs between the sides.

    Parameters
    ----------
    args, kwargs
        As the function was called.
    """
    given = {**dict(zip(_CONVOLUTION, args, strict=False)), **kwargs}
    x, weight = given["input"], given["weight"]
    kernel = tuple(weight.shape[2:])
    dilation = _pair(given.get("dilation", 1))
    padding = given.get("padding", 0)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(extent % 2 for extent in total):
            return None
        padding = (total[0] // 2, total[1] // 2)
    if x.ndim != 4:
        return None
    geometry = (
        _pair(given.get("stride", 1)),
        (0, 0) if padding == "valid" else _pair(padding),
        dilation,
        int(given.get("groups", 1)),
    )
    return Conv2d(x, weight, given.get("bias"), geometry)


def bound_batch_norm(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the arguments for ``torch.nn.functional.batch_norm`` by name, or None.

    None is for calls of other functions than batch normalisation.

    Parameters
    ----------
    func
        What was called.
    args, kwargs
        As it was called.
    """
    names = _BATCH_NORMS.get(func)
    if names is None:
        return None
    given = {**_BATCH_NORM_DEFAULTS, **dict(zip(names, args, strict=False)), **kwargs}
    given.pop("cudnn_enabled", None)
    return given


def _pair(value: Any) -> tuple[int, int]:
    values = tuple(value) if isinstance(value, tuple | list | torch.Size) else (value,)
    return (int(values[0]), int(values[-1]))
