"""The thirteen classical proxies the way each is usually computed: in passes of its own.

Plain PyTorch, from the definitions, for networks of convolutions, batch normalisation, ReLU
modules and linear layers; what :mod:`proxies` shares between proxies is done anew for each. The
networks are not copied before each proxy, as published code does, which would take longer still.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["SEPARATE"]

Batch: TypeAlias = tuple[Tensor, Tensor]


def layers(model: nn.Module) -> list[nn.Module]:
    """Return the convolutions and linear layers."""
    return [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def loss_gradients(model: nn.Module, batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """Return the layers' weights and the gradients of the loss by them."""
    model.zero_grad()
    functional.cross_entropy(model(batch[0]), batch[1]).backward()
    weights = [layer.weight for layer in layers(model)]
    return [(weight.detach(), weight.grad) for weight in weights if weight.grad is not None]


def params(model: nn.Module, _: Batch) -> float:
    """Count the parameters."""
    return sum(p.numel() for p in model.parameters())


def flops(model: nn.Module, batch: Batch) -> float:
    """Count the floating-point operations for one sample."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch[0][:1])
    return counter.get_total_flops()


def grad_norm(model: nn.Module, batch: Batch) -> float:
    """Add up the norms of gradients."""
    return sum(float(g.norm()) for _, g in loss_gradients(model, batch))


def snip(model: nn.Module, batch: Batch) -> float:
    """Add up |θ g|."""
    return sum(float((w * g).abs().sum()) for w, g in loss_gradients(model, batch))


def plain(model: nn.Module, batch: Batch) -> float:
    """Add up θ g."""
    return sum(float((w * g).sum()) for w, g in loss_gradients(model, batch))


def l2_norm(model: nn.Module, _: Batch) -> float:
    """Add up the norms of weights."""
    return sum(float(layer.weight.norm()) for layer in layers(model))


def grasp(model: nn.Module, batch: Batch) -> float:
    """Add up −θ H g, by differentiating the product of two gradients."""
    weights = [layer.weight for layer in layers(model)]
    options = {"allow_unused": True, "materialize_grads": True}
    loss = functional.cross_entropy(model(batch[0]), batch[1])
    fixed = torch.autograd.grad(loss, weights, **options)
    loss = functional.cross_entropy(model(batch[0]), batch[1])
    gradients = torch.autograd.grad(loss, weights, create_graph=True, **options)
    product = sum((a * b).sum() for a, b in zip(fixed, gradients, strict=True))
    second = torch.autograd.grad(product, weights, **options)
    return -sum(float((w.detach() * h).sum()) for w, h in zip(weights, second, strict=True))


def synflow(model: nn.Module, batch: Batch) -> float:
    """Add up |θ| ∂R/∂|θ| in float64 without normalisation."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.double()
    model.zero_grad()
    for norm in norms:
        norm.forward = lambda value: value
    for parameter in model.parameters():
        parameter.data.abs_()
    model(torch.ones_like(batch[0][:1], dtype=torch.float64)).sum().backward()
    found = [layer.weight for layer in layers(model) if layer.weight.grad is not None]
    total = sum(float((weight.detach() * weight.grad).sum()) for weight in found)
    for norm in norms:
        del norm.forward
    model.zero_grad()
    model.float()
    model.load_state_dict(state)
    return total


def fisher(model: nn.Module, batch: Batch) -> float:
    """Add up the squared saliencies of the layers' output channels."""
    outputs: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, output: outputs.append(output))
        for layer in layers(model)
    ]
    loss = functional.cross_entropy(model(batch[0]), batch[1])
    gradients = torch.autograd.grad(loss, outputs, allow_unused=True, materialize_grads=True)
    for hook in hooks:
        hook.remove()
    total = 0.0
    for output, gradient in zip(outputs, gradients, strict=True):
        saliency = (
            (output.detach() * gradient).flatten(2).sum(2)
            if output.ndim > 2
            else output.detach() * gradient
        )
        total += float((saliency**2).mean(0).sum()) / 2
    return total


def input_jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """Return every sample's gradient of the summed output."""
    model.zero_grad()
    inputs = x.clone().requires_grad_()
    model(inputs).sum().backward()
    return inputs.grad.flatten(1).double()


def jacob_cov(model: nn.Module, batch: Batch) -> float:
    """Score the eigenvalues of the Jacobian's correlation matrix."""
    values = torch.linalg.eigvalsh(torch.corrcoef(input_jacobian(model, batch[0]))) + 1e-5
    return -float((values.log() + 1 / values).sum())


def epe_nas(model: nn.Module, batch: Batch) -> float:
    """Add up the log correlations within classes."""
    rows = input_jacobian(model, batch[0])
    groups = [rows[batch[1] == label] for label in batch[1].unique()]
    matrices = [torch.corrcoef(group) for group in groups if len(group) > 1]
    return sum(abs(float((matrix.abs() + 1e-5).log().sum())) for matrix in matrices)


def naswot(model: nn.Module, batch: Batch) -> float:
    """Return the log-determinant of the kernel of activation patterns."""
    x, _ = batch
    kernel = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)

    def add(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
        on = (inputs[0] > 0).flatten(1).float()
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)

    rectifiers = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    hooks = [module.register_forward_hook(add) for module in rectifiers]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return float(torch.linalg.slogdet(kernel).logabsdet)


def zen(model: nn.Module, batch: Batch) -> float:
    """Score how the last feature map of Gaussian weights changes with the input."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    features: list[Tensor] = []
    variances: list[Tensor] = []
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [
        norm.register_forward_hook(
            lambda _, inputs, __: variances.append(inputs[0].var((0, 2, 3), correction=0))
        )
        for norm in norms
    ]
    hooks.append(norms[-1].register_forward_hook(lambda _, __, output: features.append(output)))
    with torch.no_grad():
        for layer in layers(model):
            layer.weight.normal_()
        noise = torch.randn_like(batch[0])
        model(noise)
        scales = [variance.mean() for variance in variances]
        model(noise + 0.01 * torch.randn_like(noise))
    for hook in hooks:
        hook.remove()
    model.load_state_dict(state)
    change = (features[0] - features[1]).flatten(1).norm(dim=1).mean()
    return float(change.log() + sum(scale.sqrt().log() for scale in scales))


SEPARATE: dict[str, Callable[[nn.Module, Batch], float]] = {
    "params": params,
    "flops": flops,
    "grad_norm": grad_norm,
    "snip": snip,
    "grasp": grasp,
    "synflow": synflow,
    "fisher": fisher,
    "plain": plain,
    "l2_norm": l2_norm,
    "jacob_cov": jacob_cov,
    "epe_nas": epe_nas,
    "naswot": naswot,
    "zen": zen,
}
