"""Gradients by the weights of a layer, of every sample alone, from one backward pass for all.

Where the samples of a batch do not influence each other, the gradient of Σ_i L_i by what a layer
returned holds in row i that of L_i alone, and the product with row i of what went into the layer
is its gradient by the weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from proxies.errors import UndefinedProxyError
from proxies.passes.calls import bound_conv2d
from proxies.passes.graph import has_samples_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxies.passes.calls import Conv2d
    from proxies.passes.layers import LayerCall

__all__ = ["sample_gradients", "sample_gradients_at", "weight_of"]


def weight_of(call: LayerCall) -> torch.Tensor:
    """Return the weight that a layer was called with.

    Parameters
    ----------
    call
        The call.
    """
    weight: torch.Tensor = call.args[1] if len(call.args) > 1 else call.kwargs["weight"]
    return weight


def sample_gradients(
    call: LayerCall, gradients: Sequence[torch.Tensor], samples: int
) -> list[torch.Tensor]:
    """Return every sample's gradients by the weight of a layer, ``(samples, weights)`` each.

    Parameters
    ----------
    call
        The layer's call.
    gradients
        For every quantity that is differentiated the gradient of its sum over samples by the
        layer's output, of the output's shape.
    samples
        How many samples there are.

    Raises
    ------
    UndefinedProxyError
        If the layer does not have its samples in the first dimension.
    """
    x = _input_of(call, gradients[0], samples)
    if call.name == "linear":
        inputs = x.reshape(samples, -1, x.shape[-1])
        outputs = [g.reshape(samples, -1, g.shape[-1]) for g in gradients]
        return [(output.transpose(1, 2) @ inputs).flatten(1) for output in outputs]
    conv = bound_conv2d(call.args, call.kwargs) if call.name == "conv2d" else None
    if conv is None:
        found = [_one_by_one(call, x, gradient) for gradient in gradients]
    elif x.device.type == "cpu":
        found = _kernels_one_by_one(conv, x, gradients)
    else:
        found = [_by_patches(conv, x, gradient) for gradient in gradients]
    # Several rows may belong to one sample, as with windows.
    return [
        rows if len(rows) == samples else rows.reshape(samples, -1, rows.shape[1]).sum(1)
        for rows in found
    ]


def sample_gradients_at(
    call: LayerCall, gradient: torch.Tensor, samples: int, index: int
) -> torch.Tensor:
    """Return every sample's gradient by one entry of the weight, shape ``(samples,)``.

    Parameters
    ----------
    call, gradient, samples
        See :func:`sample_gradients`.
    index
        Which entry of the flattened weight.

    Raises
    ------
    UndefinedProxyError
        If the layer does not have its samples in the first dimension.
    """
    x = _input_of(call, gradient, samples)
    conv = bound_conv2d(call.args, call.kwargs) if call.name == "conv2d" else None
    if call.name == "linear":
        row, column = divmod(index, x.shape[-1])
        return (gradient[..., row] * x[..., column]).reshape(samples, -1).sum(1)
    if conv is None:
        return sample_gradients(call, [gradient], samples)[0][:, index]
    shape = conv.weight.shape
    where = np.unravel_index(index, tuple(shape))
    row, column, *offsets = (int(position) for position in where)
    strides, paddings, dilations, groups = conv.geometry
    channel = (row // (shape[0] // groups)) * shape[1] + column
    image = functional.pad(x[:, channel], (paddings[1], paddings[1], paddings[0], paddings[0]))
    starts = [offset * dilation for offset, dilation in zip(offsets, dilations, strict=True)]
    ends = [
        start + stride * (extent - 1) + 1
        for start, stride, extent in zip(starts, strides, gradient.shape[2:], strict=True)
    ]
    seen = image[:, starts[0] : ends[0] : strides[0], starts[1] : ends[1] : strides[1]]
    return (gradient[:, row] * seen).reshape(samples, -1).sum(1)


def _input_of(call: LayerCall, gradient: torch.Tensor, samples: int) -> torch.Tensor:
    x: torch.Tensor = (call.args[0] if call.args else call.kwargs["input"]).detach()
    if not has_samples_first(x, samples) or x.shape[0] != gradient.shape[0]:
        raise UndefinedProxyError(
            f"expected layers with {samples} samples in their first dimension, "
            f"found shape {tuple(x.shape)}"
        )
    return x


def _by_patches(conv: Conv2d, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """One product of matrices for all samples: few launches, which is what an accelerator needs."""
    stride, padding, dilation, groups = conv.geometry
    kernel = conv.weight.shape[2:]
    patches = functional.unfold(x, tuple(kernel), dilation, padding, stride)
    by_group = patches.reshape(len(x), groups, -1, patches.shape[-1])
    deltas = gradient.reshape(len(x), groups, conv.weight.shape[0] // groups, -1)
    return (deltas @ by_group.transpose(2, 3)).flatten(1)


def _kernels_one_by_one(
    conv: Conv2d, x: torch.Tensor, gradients: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """One call a sample of the kernel for gradients by the weight: on CPUs four times faster.

    Without groups, gradients of several quantities are so many more output channels of one call.
    """
    weight = conv.weight.detach()
    stride, padding, dilation, groups = conv.geometry
    if groups > 1 and len(gradients) > 1:
        return [rows for gradient in gradients for rows in _kernels_one_by_one(conv, x, [gradient])]
    stacked = torch.cat(list(gradients), dim=1)
    weights = weight.repeat(len(gradients), 1, 1, 1)
    found = x.new_empty(len(x), len(gradients), weight.numel())
    for index in range(len(x)):
        part = slice(index, index + 1)
        _, by_weight, _ = torch.ops.aten.convolution_backward(
            *(stacked[part], x[part], weights, None, stride, padding, dilation),
            *(False, (0, 0), groups, (False, True, False)),
        )
        found[index] = by_weight.reshape(len(gradients), -1)
    return list(found.unbind(1))


def _one_by_one(call: LayerCall, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Differentiate a layer of any kind once for every row."""
    weight = weight_of(call).detach()
    function: Any = getattr(functional, call.name)
    rows = []
    for index in range(len(x)):
        part = slice(index, index + 1)
        leaf = weight.clone().requires_grad_()
        given = (x[part], leaf)[: len(call.args)]
        named = {"input": x[part], "weight": leaf}
        output = function(
            *(*given, *call.args[2:]),
            **{name: named.get(name, value) for name, value in call.kwargs.items()},
        )
        rows.append(torch.autograd.grad(output, leaf, gradient[part])[0].flatten())
    return torch.stack(rows)
