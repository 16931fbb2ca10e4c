"""Where our definitions differ from what the published columns hold: those formulas, to compare.

Published fisher gives every channel's saliency to each of the weights of that channel before it
adds them up, so that channels count by the size of their kernels. Published zen reads the variances
of batch normalisation off the running averages, which two forward passes with momentum 0.1 have
moved a fifth of the way from 1, and takes the absolute instead of the Euclidean change.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["VARIANTS"]


def fisher_by_weight(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return Σ over channels of ½ mean_n (Σ a ∂L/∂a)² times the weights of the channel."""
    calls: list[tuple[nn.Module, Tensor]] = []
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        layer.register_forward_hook(lambda layer, _, output: calls.append((layer, output)))
    loss = functional.cross_entropy(network(images), labels)
    outputs = [output for _, output in calls]
    gradients = torch.autograd.grad(loss, outputs, allow_unused=True, materialize_grads=True)
    total = 0.0
    for (layer, output), gradient in zip(calls, gradients, strict=True):
        products = output.detach() * gradient
        saliency = products.flatten(2).sum(2) if products.ndim > 2 else products
        total += float((saliency**2).mean(0).sum()) / 2 * layer.weight[0].numel()
    return total


def zen_from_running_averages(network: nn.Module, images: Tensor, _: Tensor) -> float:
    """Return log E|g(x) − g(x + αε)| + Σ log √(running variance) after both forward passes."""
    features: list[Tensor] = []
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    norms[-1].register_forward_hook(lambda _, __, output: features.append(output))
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.normal_()
        noise = torch.randn_like(images)
        network(noise)
        network(noise + 0.01 * torch.randn_like(images))
    change = (features[0] - features[1]).abs().flatten(1).sum(1).mean()
    averages = [norm.running_var for norm in norms if norm.running_var is not None]
    return float(change.log() + sum(average.mean().log() / 2 for average in averages))


VARIANTS = {
    "fisher": ("channels counted by their weights", fisher_by_weight),
    "zen": ("variances from running averages", zen_from_running_averages),
}
