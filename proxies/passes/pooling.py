"""Average pooling of images that lie in memory with channels last, on CPUs.

PyTorch's own kernel adds up every window value by value. Where windows overlap, a convolution with
one kernel a channel is about four times as fast there, and so is its derivative by the input.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from proxies.passes.calls import bound_avg_pool2d

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["AveragePool", "average_pool", "pooled", "spread"]

# Of larger windows, convolutions take as long as the sums themselves.
_LARGEST_WINDOW = 5


def average_pool(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> torch.Tensor:
    """Run a call of ``avg_pool2d``, as a convolution where that is faster.

    Parameters
    ----------
    func, args, kwargs
        The function and how it was called.
    """
    call = bound_avg_pool2d(args, kwargs)
    found: torch.Tensor = (
        func(*args, **kwargs)
        if call is None or not _is_faster(call.input, call.geometry)
        else AveragePool.apply(call.input, call.geometry)  # type: ignore[no-untyped-call]
    )
    return found


class AveragePool(torch.autograd.Function):
    """Mean over windows; PyTorch's own adds a second derivative of zeros, in another layout."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, geometry: tuple[Any, ...]) -> torch.Tensor:
        """Return the means."""
        ctx.save_for_backward(x)
        ctx.geometry = geometry
        return pooled(x, geometry)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradient by the images."""
        (x,) = ctx.saved_tensors
        return _Spread.apply(gradient, x, ctx.geometry), None  # type: ignore[no-untyped-call]


class _Spread(torch.autograd.Function):
    """δ, spread over the windows."""

    @staticmethod
    def forward(
        ctx: Any, gradient: torch.Tensor, x: torch.Tensor, geometry: tuple[Any, ...]
    ) -> torch.Tensor:
        ctx.geometry = geometry
        return spread(gradient, x, geometry)

    @staticmethod
    def backward(ctx: Any, v: torch.Tensor) -> Any:
        return AveragePool.apply(v, ctx.geometry), None, None  # type: ignore[no-untyped-call]


def pooled(x: torch.Tensor, geometry: tuple[Any, ...]) -> torch.Tensor:
    """Return the means over windows, without a gradient.

    Parameters
    ----------
    x
        Images, shape ``(B, C, H, W)``.
    geometry
        The arguments of ``avg_pool2d`` after the images.
    """
    if not _is_faster(x, geometry):
        found: torch.Tensor = torch.ops.aten.avg_pool2d(x, *geometry)
        return found
    kernel, stride, padding, *_ = geometry
    ones, channels = _ones(x.shape[1], kernel), x.shape[1]
    sums: torch.Tensor = torch.ops.aten.convolution(
        x, ones, None, stride, padding, (1, 1), False, (0, 0), channels
    )
    return sums.div_(_divisor(tuple(sums.shape[2:]), tuple(x.shape[2:]), geometry))


def spread(gradient: torch.Tensor, x: torch.Tensor, geometry: tuple[Any, ...]) -> torch.Tensor:
    """Return the gradient by the images of the gradient by their means.

    Parameters
    ----------
    gradient
        By the means, shape ``(B, C, H', W')``.
    x
        Images, shape ``(B, C, H, W)``, of which only the shape matters.
    geometry
        The arguments of ``avg_pool2d`` after the images.
    """
    if not (_is_faster(x, geometry) and _lies_channels_last(gradient)):
        found: torch.Tensor = torch.ops.aten.avg_pool2d_backward(gradient, x, *geometry)
        return found
    kernel, stride, padding, *_ = geometry
    ones, channels = _ones(x.shape[1], kernel), x.shape[1]
    share = gradient / _divisor(tuple(gradient.shape[2:]), tuple(x.shape[2:]), geometry)
    by_x: torch.Tensor = torch.ops.aten.convolution_backward(
        *(share, x, ones, None, stride, padding, (1, 1), False, (0, 0), channels),
        (True, False, False),
    )[0]
    return by_x


def _is_faster(x: torch.Tensor, geometry: tuple[Any, ...]) -> bool:
    kernel, stride, _, ceil_mode, *_ = geometry
    overlap = max(k - s for k, s in zip(kernel, stride, strict=True)) > 0
    return (
        overlap
        and not ceil_mode
        and max(kernel) <= _LARGEST_WINDOW
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and _lies_channels_last(x)
    )


def _lies_channels_last(x: torch.Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=64)
def _ones(channels: int, kernel: tuple[int, int]) -> torch.Tensor:
    return torch.ones((channels, 1, *kernel), device="cpu")


@lru_cache(maxsize=64)
def _divisor(
    windows: tuple[int, int], extents: tuple[int, int], geometry: tuple[Any, ...]
) -> torch.Tensor | int:
    """Return what sums over windows are divided by: one number, or one a position.

    Parameters
    ----------
    windows, extents
        How many windows there are, and how many values, in each direction.
    geometry
        The arguments of ``avg_pool2d`` after the images.
    """
    kernel, stride, padding, _, count_include_pad, divisor = geometry
    if divisor is not None:
        return int(divisor)
    if count_include_pad or not any(padding):
        return int(kernel[0] * kernel[1])
    counts: list[torch.Tensor] = []
    for count, extent, k, s, p in zip(windows, extents, kernel, stride, padding, strict=True):
        starts = torch.arange(count, dtype=torch.float32, device="cpu") * s - p
        counts.append((starts + k).clamp(max=extent) - starts.clamp(min=0))
    rows, columns = counts
    return rows.unsqueeze(1) * columns
