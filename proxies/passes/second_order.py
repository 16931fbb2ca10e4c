"""Gradients that are cheap to differentiate again.

PyTorch can differentiate a gradient, but turns the second derivative of a convolution into
convolutions with kernels as large as the image, and that of a batch normalisation into a dozen
elementwise passes: together six times a forward and backward pass where two are enough. Inside
:class:`TwiceDifferentiable` such layers are functions whose first and second derivatives are the
ordinary kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from proxies.passes.calls import bound_avg_pool2d, bound_batch_norm, bound_conv2d
from proxies.passes.derivatives import batch_norm, convolution, rectified
from proxies.passes.pooling import AveragePool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn

__all__ = ["TwiceDifferentiable"]

# Not in place: that would be seen by whoever holds what is overwritten.
_RELU = (functional.relu, torch.relu, torch.Tensor.relu)


class TwiceDifferentiable(TorchFunctionMode):
    """Inside, ``conv2d`` and ``batch_norm`` by batch statistics have cheap second derivatives.

    What is differentiated a second time is Σ θ ⊙ ∂z/∂θ alone, where z is a function of the
    gradients by the weights θ: a convolution's weight gets a factor of its own (1), by which z is
    differentiated instead, for Σ θ ⊙ ∂z/∂θ = ∂z(s θ)/∂s. That spares every second derivative of
    the shape of a weight. First derivatives by the weights need ``create_graph=True``.

    Parameters
    ----------
    weights
        The weights θ.
    """

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self._weights = list(weights)
        self._ids = {id(weight) for weight in self._weights}
        self._scales: list[torch.Tensor] = []
        self.second = False

    def weighted_derivative(self, value: torch.Tensor) -> torch.Tensor:
        """Return Σ θ ⊙ ∂z/∂θ.

        Parameters
        ----------
        value
            z, made of first derivatives of what was computed inside.
        """
        # Weights that other layers share or compute with have ordinary derivatives, beside those
        # by the factors of convolutions, which give no derivative by their weights.
        factors = [*self._scales, *self._weights]
        self.second = True
        try:
            found = torch.autograd.grad(value, factors, retain_graph=True, allow_unused=True)
        finally:
            self.second = False
        total = torch.zeros((), dtype=torch.float64, device=value.device)
        with torch.no_grad():
            for factor, gradient in zip(factors, found, strict=True):
                if gradient is not None:
                    total += (factor * gradient).sum(dtype=torch.float64)
        return total

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call, or its twice differentiable stand-in."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "conv2d":
            call = bound_conv2d(args, kwargs)
            # Other weights (computed ones) need second derivatives of their own.
            if call is not None and id(call.weight) in self._ids:
                scale = torch.ones((), dtype=call.weight.dtype, device=call.weight.device)
                self._scales.append(scale.requires_grad_())
                result = convolution(call.input, call.weight, scale, call.geometry, self)
                return result if call.bias is None else result + call.bias.view(-1, 1, 1)
        elif func in _RELU and not kwargs.get("inplace", args[1:2] == (True,)):
            x = args[0] if args else kwargs["input"]
            if x.requires_grad:
                return rectified(x)
        elif getattr(func, "__name__", "") == "avg_pool2d":
            pool = bound_avg_pool2d(args, kwargs)
            if pool is not None and pool.input.requires_grad:
                return AveragePool.apply(pool.input, pool.geometry)  # type: ignore[no-untyped-call]
        elif (norm := bound_batch_norm(func, args, kwargs)) is not None:
            x = norm["input"]
            # One value a channel has no variance: the call itself says so.
            if norm["training"] and x.requires_grad and x.numel() > x.shape[1]:
                return batch_norm(x, norm["weight"], norm["bias"], norm["eps"])
        return func(*args, **kwargs)
