"""Functions whose second derivatives are the ordinary kernels of their first ones.

Each computes what PyTorch's function of that name does. In the formulas δ is the gradient by a
function's result, and v the gradient by what its backward pass returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from proxies.passes.second_order import TwiceDifferentiable

__all__ = ["batch_norm", "convolution", "rectified"]


def convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor,
    geometry: tuple[Any, ...],
    mode: TwiceDifferentiable,
) -> torch.Tensor:
    """Return the convolution of `x` with `scale` times `weight`, where `scale` is 1.

    Parameters
    ----------
    x, weight
        Images and kernel.
    scale
        By which the result can be differentiated a second time, in the place of `weight`.
    geometry
        Stride, padding, dilation, groups.
    mode
        Whose attribute `second` says whether a second differentiation is under way.
    """
    found: torch.Tensor = _apply(_Convolution, x, weight, scale, geometry, mode)
    return found


def rectified(x: torch.Tensor) -> torch.Tensor:
    """Return max(x, 0).

    Parameters
    ----------
    x
        Any tensor.
    """
    found: torch.Tensor = _apply(_Relu, x)
    return found


def batch_norm(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
) -> torch.Tensor:
    """Return `x` normalised by the statistics of the batch, times `weight`, plus `bias`.

    Parameters
    ----------
    x
        Shape ``(B, channels, ...)``.
    weight, bias
        One value a channel, or None.
    eps
        Added to the variance.
    """
    found: torch.Tensor = _apply(_BatchNorm, x, weight, bias, eps)
    return found


def _apply(function: type[Function], *arguments: Any) -> Any:
    return function.apply(*arguments)  # type: ignore[no-untyped-call]


def _backward(
    gradient: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    geometry: tuple[Any, ...],
    mask: tuple[bool, bool, bool],
) -> tuple[Any, Any, Any]:
    stride, padding, dilation, groups = geometry
    found: tuple[Any, Any, Any] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, dilation, False, (0, 0), groups, mask
    )
    return found


def _by_input(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, geometry: tuple[Any, ...]
) -> Any:
    return _backward(gradient, x, weight, geometry, (True, False, False))[0]


def _convolved(x: torch.Tensor, weight: torch.Tensor, geometry: tuple[Any, ...]) -> torch.Tensor:
    found: torch.Tensor = torch.ops.aten.convolution(
        x, weight, None, *geometry[:3], False, (0, 0), geometry[3]
    )
    return found


class _Convolution(Function):
    """y = conv(x, s w): first derivatives by x and w, second ones by x, s and δ."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        scale: torch.Tensor,
        geometry: tuple[Any, ...],
        mode: TwiceDifferentiable,
    ) -> torch.Tensor:
        # Not its result, into which the model may write.
        ctx.save_for_backward(x, weight, scale)
        ctx.geometry, ctx.mode = geometry, mode
        return _convolved(x, weight, geometry)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        x, weight, scale = ctx.saved_tensors
        if torch.is_grad_enabled():
            by_x, by_weight = _apply(_ConvolutionBackward, gradient, x, weight, scale, ctx.geometry)
            return by_x, by_weight, None, None, None
        # Autograd does not tell a function which of its gradients are in demand.
        second = ctx.mode.second
        by_x = _by_input(gradient, x, weight, ctx.geometry) if x.requires_grad or second else None
        # Σ δ ⊙ conv(x, w), by the adjoint.
        by_scale = _product(by_x, x) if second and by_x is not None else None
        return by_x, None, by_scale, None, None


class _ConvolutionBackward(Function):
    """(δ, x, w, s) → gradients by x, with the weight s w, and by the scaled weight."""

    @staticmethod
    def forward(
        ctx: Any,
        gradient: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        _scale: torch.Tensor,
        geometry: tuple[Any, ...],
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        by_x, by_weight, _ = _backward(
            gradient, x, weight, geometry, (x.requires_grad, True, False)
        )
        ctx.save_for_backward(gradient, x, weight)
        ctx.geometry = geometry
        ctx.set_materialize_grads(False)
        return by_x, by_weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_x: Any, by_weight: Any) -> Any:
        gradient, x, weight = ctx.saved_tensors
        to_gradient = to_x = to_scale = None
        if by_x is not None:
            to_gradient = _convolved(by_x, weight, ctx.geometry)
            to_scale = _product(to_gradient, gradient)
        if by_weight is not None:
            through = _convolved(x, by_weight, ctx.geometry)
            to_gradient = through if to_gradient is None else through.add_(to_gradient)
            if x.requires_grad:
                to_x = _by_input(gradient, x, by_weight, ctx.geometry)
        return to_gradient, to_x, None, to_scale, None


class _Relu(Function):
    """max(x, 0); PyTorch's own adds a second derivative of zeros, in another memory layout."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        result = x.relu()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return _apply(_ReluBackward, gradient, *ctx.saved_tensors)


class _ReluBackward(Function):
    """δ where the unit is on, else 0."""

    @staticmethod
    def forward(ctx: Any, gradient: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(result)
        return _gated(gradient, result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: torch.Tensor) -> Any:
        return _gated(v, *ctx.saved_tensors), None


def _gated(gradient: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    gated: torch.Tensor = torch.ops.aten.threshold_backward(gradient, result, 0)
    return gated


class _BatchNorm(Function):
    """Normalisation of x by the statistics of the batch, then γ and β."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: Any, bias: Any, eps: float) -> torch.Tensor:
        result, mean, scale = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.eps = eps
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        x, weight, mean, scale = ctx.saved_tensors
        found = _apply(_BatchNormBackward, gradient, x, weight, mean, scale, ctx.eps)
        return *(found if weight is not None else (found[0], None, None)), None


def _product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return Σ a b, without writing the products down where both lie alike in memory."""
    if one.ndim == 4 and one.stride() == other.stride():
        order = (0, 2, 3, 1)
        one, other = one.permute(order), other.permute(order)
    return torch.dot(one.reshape(-1), other.reshape(-1))


def _norm_backward(
    gradient: torch.Tensor, x: torch.Tensor, weight: Any, mean: Any, scale: Any, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    # The sums over the batch are asked for whether or not there is a weight.
    weight = torch.ones_like(mean) if weight is None else weight
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = (
        torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, scale, True, eps, [True, True, True]
        )
    )
    return found


class _BatchNormBackward(Function):
    """δ and x → γ r P(δ), with x̂ = (x − μ) r and P(a) = a − M a − x̂ M(a x̂), M the batch's mean.

    P is self-adjoint and r P the derivative of x̂, so that with v the gradient by the result:
    by δ, γ r P(v); by x, −γ r² [x̂ M(v P(δ)) + P(v) M(δ x̂) + P(δ) M(v x̂)].
    """

    @staticmethod
    def forward(
        ctx: Any,
        gradient: torch.Tensor,
        x: torch.Tensor,
        weight: Any,
        mean: torch.Tensor,
        scale: torch.Tensor,
        eps: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        by_x, by_weight, by_bias = _norm_backward(gradient, x, weight, mean, scale, eps)
        ctx.save_for_backward(gradient, x, weight, mean, scale, by_weight, by_bias)
        ctx.eps = eps
        ctx.mark_non_differentiable(by_weight, by_bias)
        ctx.set_materialize_grads(False)
        return by_x, by_weight, by_bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: torch.Tensor | None, *_: Any) -> Any:
        if v is None:
            return (None,) * 6
        gradient, x, weight, mean, scale, sum_gx, sum_g = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        by_gradient, sum_vx, sum_v = _norm_backward(v, x, weight, mean, scale, ctx.eps)
        g, gx, vv, vx = (total / count for total in (sum_g, sum_gx, sum_v, sum_vx))
        # The gradient by a weight, were δ the normalised input: Σ v δ, in one pass.
        _, sum_vg, _ = torch.ops.aten.native_batch_norm_backward(
            *(v, gradient, None, None, None, torch.zeros_like(mean), torch.ones_like(scale)),
            *(True, ctx.eps, [False, True, False]),
        )
        products = sum_vg / count
        gain = scale**2 if weight is None else weight * scale**2
        # The coefficients of v, δ and x in the sum above, and what is constant in a channel.
        of_x = (products - vv * g - 3 * vx * gx) * scale
        constant = of_x * mean + vv * gx + g * vx

        def channelwise(values: torch.Tensor) -> torch.Tensor:
            shaped: torch.Tensor = (-gain * values).view(-1, *[1] * (x.ndim - 2))
            return shaped

        by_x = torch.addcmul(channelwise(-constant), v, channelwise(gx))
        by_x.addcmul_(gradient, channelwise(vx)).addcmul_(x, channelwise(of_x))
        return by_gradient, by_x, None, None, None, None
