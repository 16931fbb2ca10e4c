"""Reading the autograd graph of a forward pass: which units there are, and which are alive.

The graph holds what the activation functions saved, however they were called: as a module, as a
function, as a method or in place. A branch that the output does not depend on is not in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from proxies.errors import UndefinedProxyError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["has_samples_first", "live_nodes", "relu_signs"]

# Activation functions that have the sign of their argument: one that lets positive values pass
# and damps negative ones. Name of the autograd node without its counter.
_RECTIFIERS = frozenset(
    {
        "CeluBackward",
        "ClampBackward",
        "ClampMinBackward",
        "EluBackward",
        "GeluBackward",
        "HardswishBackward",
        "HardtanhBackward",
        "LeakyReluBackward",
        "MishBackward",
        "PreluKernelBackward",
        "ReluBackward",
        # That of TwiceDifferentiable.
        "_ReluBackward",
        "RreluWithNoiseBackward",
        "SiluBackward",
        "SoftplusBackward",
        "ThresholdBackward",
    }
)
# Those with a free lower bound rectify only where it is zero.
_BOUNDS = {
    "ClampBackward": "_saved_min",
    "ClampMinBackward": "_saved_min",
    "HardtanhBackward": "_saved_min_val",
    "ThresholdBackward": "_saved_threshold",
}


def live_nodes(output: torch.Tensor, inputs: Sequence[torch.Tensor]) -> list[Any]:
    """Return the autograd nodes on the paths from the inputs to the output, in a fixed order.

    A value that is multiplied by a constant zero (the way NAS-Bench-201 and DARTS switch an
    operation off) does not reach the output: paths through such a product do not count.

    Parameters
    ----------
    output
        The result of a forward pass that recorded gradients.
    inputs
        The leaves that require gradients from which paths start. If there are none, as with
        whole-numbered inputs, every node that the output depends on counts.

    Raises
    ------
    UndefinedProxyError
        If the output has no autograd graph.
    """
    if output.grad_fn is None:
        raise UndefinedProxyError(
            "expected an output that depends on the input or the parameters differentiably, "
            "found one without a gradient"
        )
    users: dict[Any, list[Any]] = {output.grad_fn: []}
    starts = []
    waiting: list[Any] = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if any(getattr(node, "variable", None) is leaf for leaf in inputs):
            starts.append(node)
        for index, (source, _) in enumerate(node.next_functions):
            if source is None or _is_cut(node, index):
                continue
            if source not in users:
                users[source] = []
                waiting.append(source)
            users[source].append(node)
    if not inputs:
        return list(users)
    carrying = set(starts)
    while starts:
        for user in users[starts.pop()]:
            if user not in carrying:
                carrying.add(user)
                starts.append(user)
    return [node for node in users if node in carrying]


def relu_signs(
    output: torch.Tensor, inputs: Sequence[torch.Tensor], batch_size: int
) -> list[torch.Tensor]:
    """Return for every live rectifier which of its units are on, for every sample.

    Rectifiers are ReLU and its smooth and bounded relatives (GELU, SiLU, ELU, Mish, Hardswish,
    LeakyReLU, PReLU, Softplus, ReLU6, ...); a unit is on when its pre-activation is positive.

    Parameters
    ----------
    output
        The result of a forward pass that recorded gradients, shape ``(B, ...)``.
    inputs
        The leaves from which the output was computed.
    batch_size
        The number of samples B.

    Returns
    -------
    list of torch.Tensor
        Boolean tensors of shape ``(B, units of the layer)``.

    Raises
    ------
    UndefinedProxyError
        If an activation does not have its samples in the first dimension (which may merge them
        with other things, such as windows of attention).
    """
    signs = []
    for node in live_nodes(output, inputs):
        kind = node.name().rstrip("0123456789")
        if kind not in _RECTIFIERS:
            continue
        bound = getattr(node, _BOUNDS[kind]) if kind in _BOUNDS else 0
        if isinstance(bound, torch.Tensor) or bound != 0:
            continue
        # Where the argument is not saved the result is, and it has the same sign.
        if hasattr(node, "saved_tensors"):
            (saved,) = node.saved_tensors
        else:
            saved = node._saved_self if hasattr(node, "_saved_self") else node._saved_result
        if not has_samples_first(saved, batch_size):
            raise UndefinedProxyError(
                f"expected activations with {batch_size} samples in their first dimension, "
                f"found shape {tuple(saved.shape)}"
            )
        signs.append(_in_memory_order(saved.detach() > 0).reshape(batch_size, -1))
    return signs


def _in_memory_order(tensor: torch.Tensor) -> torch.Tensor:
    """Return images with channels last as a view that is contiguous: units have no order."""
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1)
    return tensor


def has_samples_first(tensor: torch.Tensor, batch_size: int) -> bool:
    """Return whether a tensor's first dimension holds samples, or parts of them such as windows.

    Parameters
    ----------
    tensor
        What a layer took or returned.
    batch_size
        The number of samples.
    """
    if tensor.ndim == 0 or tensor.shape[0] % batch_size:
        return False
    # Sequences first, samples second: their number may divide the length of the sequence.
    second = tensor.ndim > 2 and tensor.shape[1] == batch_size > 1
    return tensor.shape[0] == batch_size or not second


def _is_cut(node: Any, index: int) -> bool:
    """Whether the node multiplies its argument number `index` by a constant zero."""
    if node.name() != "MulBackward0":
        return False
    constant, _ = node.next_functions[1 - index]
    if constant is not None:
        return False
    factor = node._saved_other if index == 0 else node._saved_self
    return factor is not None and not bool(factor.any())
