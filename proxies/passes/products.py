"""What the batch pass measures: how a part of the batch gives its share, and how shares join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from proxies.errors import UndefinedProxyError
from proxies.passes.graph import has_samples_first, relu_signs
from proxies.passes.input_jacobian import input_jacobian

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxies.passes.forward import Forward

__all__ = ["PRODUCTS", "hessian_form"]


def hessian_form(forward: Forward, gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return this part's share of θᵀ H g over the weights θ of convolutions and linear layers.

    Parameters
    ----------
    forward
        A part of the batch, prepared for second derivatives.
    gradients
        g, the gradients of the mean loss over the whole batch, by parameter name.
    """
    if forward.second_order is None or not forward.weights:
        raise UndefinedProxyError("expected convolutions or linear layers, found none")
    own = forward.loss_gradients
    value = torch.stack([(own[name] * gradients[name]).sum() for name in forward.weights]).sum()
    if not value.requires_grad:
        # A loss without curvature.
        return torch.zeros((), dtype=torch.float64, device=value.device)
    return forward.second_order.weighted_derivative(value)


def _loss_gradients(forward: Forward) -> dict[str, torch.Tensor]:
    return {name: gradient.detach() for name, gradient in forward.loss_gradients.items()}


def _channel_saliency(forward: Forward) -> torch.Tensor:
    """Return the share of Σ over channels of ½ mean_n (Σ over positions of a · ∂L/∂a)²."""
    if forward.watcher is None or not forward.watcher.calls:
        raise UndefinedProxyError("expected convolutions or linear layers, found none")
    total = torch.zeros((), dtype=torch.float64, device=forward.output.device)
    for call, gradient in zip(forward.watcher.calls, forward.layer_gradients, strict=True):
        if gradient is None:
            continue
        if not has_samples_first(call.output, forward.size):
            raise UndefinedProxyError(
                f"expected activations with {forward.size} samples in their first dimension, "
                f"found shape {tuple(call.output.shape)}"
            )
        products = (call.output.detach() * gradient.detach()).movedim(call.channel_dimension, -1)
        channels = products.shape[-1]
        sums = products.reshape(forward.size, -1, channels).sum(1, dtype=torch.float64)
        total += (sums**2).sum() / (2 * forward.subject.batch_size)
    return total


def _relu_signs(forward: Forward) -> list[torch.Tensor]:
    """Return which units are on for the samples of this part."""
    return relu_signs(forward.output, forward.inputs, forward.size)


def _sum(so_far: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    return so_far + part


def _sum_each(
    so_far: dict[str, torch.Tensor], part: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    return {name: gradient + part[name] for name, gradient in so_far.items()}


def _append(so_far: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    return torch.cat([so_far, part])


def _append_each(so_far: list[torch.Tensor], part: list[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.cat(layer) for layer in zip(so_far, part, strict=True)]


# In the order in which they are measured.
PRODUCTS: dict[str, tuple[Callable[[Forward], Any], Callable[[Any, Any], Any]]] = {
    "relu_signs": (_relu_signs, _append_each),
    "input_jacobian": (input_jacobian, _append),
    "loss_gradients": (_loss_gradients, _sum_each),
    "channel_saliency": (_channel_saliency, _sum),
}
