"""The counting pass: one sample through the model, counting multiply-accumulates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from proxies.subject import Subject

__all__ = ["MacCounter", "count_macs"]

_CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
_TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
# Products of matrices, and at which position the first factor stands.
_PRODUCTS = {"linear": 0, "matmul": 0, "mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}


class MacCounter(TorchFunctionMode):
    """Counts the multiply-accumulates of convolutions and linear layers that are called inside.

    Counted are calls, not modules: a functional call counts, a module that is used twice counts
    twice, one that is never used does not. A product with a parameter is a linear layer however
    it is written; a product of two activations (as in attention) is none. Biases are not counted.
    A transposed convolution counts the products of each input value with its kernel.

    Attributes
    ----------
    macs : int
        What was counted so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call, and count it if it is a convolution or linear layer."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        if name in _CONVOLUTIONS or name in _TRANSPOSED:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            # One value of a filter's first dimension meets this many values of the second.
            values = args[0] if args else kwargs["input"]
            counted = result if name in _CONVOLUTIONS else values
            self.macs += counted.numel() * weight[0].numel()
        elif name in _PRODUCTS:
            first = _PRODUCTS[name]
            factors = (*args[first:], *kwargs.values())
            if name == "linear" or any(_is_parameter(factor) for factor in factors[:2]):
                self.macs += result.numel() * factors[0].shape[-1]
        elif name == "einsum" and any(map(_is_parameter, _operands(args))):
            self.macs += _einsum_products(args[0], _operands(args))
        elif func is functional.multi_head_attention_forward:
            self.macs += _attention_projections(*args[:3])
        return result


def count_macs(subject: Subject) -> int:
    """Return the multiply-accumulates of convolutions and linear layers for one sample.

    Parameters
    ----------
    subject
        The module and the batch, of which the first sample is taken, in evaluation mode.
    """
    counter = MacCounter()
    with subject.lent(training=False), torch.no_grad(), counter:
        subject.forward(tuple(x[:1].clone() for x in subject.inputs))
    return counter.macs


def _is_parameter(value: Any) -> bool:
    """Whether a factor is a parameter or a view of one, such as its transpose."""
    if not isinstance(value, torch.Tensor):
        return False
    return isinstance(value._base if value._base is not None else value, nn.Parameter)


def _operands(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the factors of a call of ``einsum``, where it is given an equation."""
    if not isinstance(args[0], str):
        return ()
    return tuple(args[1]) if isinstance(args[1], tuple | list) else args[1:]


def _einsum_products(equation: str, operands: tuple[torch.Tensor, ...]) -> int:
    """Return how many products two factors make; none for more, whose order is not ours to say."""
    if len(operands) != 2:
        return 0
    sizes: dict[str, int] = {}
    terms = equation.replace(" ", "").split("->")[0].split(",")
    for term, operand in zip(terms, operands, strict=True):
        before, _, after = term.partition("...")
        hidden = operand.ndim - len(before) - len(after)
        # The dimensions of an ellipsis meet from the last one on.
        names = (*before, *(f"...{hidden - place}" for place in range(hidden)), *after)
        for name, size in zip(names, operand.shape, strict=True):
            sizes[name] = max(sizes.get(name, 1), size)
    return math.prod(sizes.values())


def _attention_projections(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> int:
    """Return what `nn.MultiheadAttention` spends on its four projections, which it calls hidden."""
    width = query.shape[-1]
    return width * (2 * query.numel() + key.numel() + value.numel())
