"""Layers: which parameters are their weights, and what goes in and comes out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from proxies.passes.calls import LAYERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["LayerCall", "LayerWatcher", "OverwrittenError", "layer_weights", "unless_overwritten"]

T = TypeVar("T")


class OverwrittenError(Exception):
    """The model wrote into the result of a layer; watch again with copies."""


def unless_overwritten(run: Callable[[bool], T]) -> T:
    """Run a pass without copies of what layers return, or with them where the model writes there.

    Parameters
    ----------
    run
        Lends the model and runs the pass, given whether to make copies. Each run has a loan of its
        own, since buffers and random streams have gone on in the first.
    """
    try:
        return run(False)
    except OverwrittenError:
        return run(True)


@dataclass(frozen=True)
class LayerCall:
    """One call of a convolution or linear layer.

    Parameters
    ----------
    name
        Name of the function, such as ``conv2d``.
    args, kwargs
        As it was called.
    output
        Its result.
    edge
        Where its result stands in the autograd graph, for gradients by it.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: torch.Tensor
    edge: Any

    @property
    def channel_dimension(self) -> int:
        """The dimension of `output` that holds channels: the last for linear layers, else 1."""
        return self.output.ndim - 1 if self.name == "linear" else 1


class LayerWatcher(TorchFunctionMode):
    """Remembers the calls of convolutions and linear layers whose results have gradients.

    Functional calls count like modules. The projections inside ``nn.MultiheadAttention`` are
    hidden in one call and not seen.

    Parameters
    ----------
    copies
        Whether the model goes on with a copy of every result, as it has to where it writes into
        them (a ReLU in place after a convolution).

    Attributes
    ----------
    calls : list of LayerCall
        In the order of execution.
    """

    def __init__(self, *, copies: bool = False) -> None:
        super().__init__()
        self.calls: list[LayerCall] = []
        self._copies = copies
        self._versions: list[int] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call, and remember it if it is a layer's."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name not in LAYERS or not result.requires_grad:
            return result
        self.calls.append(LayerCall(name, args, kwargs, result, get_gradient_edge(result)))
        self._versions.append(result._version)
        return result.clone() if self._copies else result

    def check(self) -> None:
        """Make sure that the results are still what the layers returned.

        Raises
        ------
        OverwrittenError
            If the model wrote into one.
        """
        for call, version in zip(self.calls, self._versions, strict=True):
            if call.output._version != version:
                raise OverwrittenError


def layer_weights(model: nn.Module) -> list[str]:
    """Return the names of the weights of convolutions and linear layers.

    Those of ``nn.Conv*d``, ``nn.ConvTranspose*d``, ``nn.Linear`` and the input projections of
    ``nn.MultiheadAttention``; of a parametrised weight, the matrices that it is computed from. In
    a model without such modules, which calls the functions itself, every parameter with two or
    more dimensions.

    Parameters
    ----------
    model
        The model.
    """
    wanted: set[int] = set()
    for module in model.modules():
        own = [p for p in module._parameters.values() if p is not None]
        if isinstance(module, _ConvNd | nn.Linear):
            # The children of a layer hold what its parametrised weights are computed from.
            found = module.parameters() if module._modules else own
            wanted.update(id(p) for p in found if p.ndim > 1)
        elif isinstance(module, nn.MultiheadAttention):
            wanted.update(id(p) for p in own if p.ndim == 2)
    matrices = [(name, p) for name, p in model.named_parameters() if p.ndim > 1]
    named = [name for name, p in matrices if id(p) in wanted]
    return named or [name for name, _ in matrices]
