"""The batch pass: one forward on the batch in training mode, and the backward passes on it.

Loss gradients, input Jacobian and activation patterns all come from here, so that asking for
several of them costs one forward pass.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from proxies.errors import UndefinedProxyError, reason_of
from proxies.passes.graph import relu_signs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxies.subject import Subject

__all__ = ["PRODUCTS", "batch_pass", "chunk_size", "memory_saver"]

# How much two float64 outputs of one sample may differ, relative to the largest, by rounding.
_ROUNDING = 1e-8


def batch_pass(subject: Subject, products: Iterable[str]) -> dict[str, Any]:
    """Run the batch pass and return what it was asked for.

    With a micro-batch, the samples are taken so many at a time and the parts put together
    exactly (a mean loss by its weighted sum). Where samples influence each other, as they do
    through batch statistics, that would measure something else: the batch stays whole, and on an
    accelerator what the backward passes need is kept in main memory instead.

    Parameters
    ----------
    subject
        The module and the batch.
    products
        Names from :data:`PRODUCTS`.

    Returns
    -------
    dict
        For each product its value, or the :class:`~proxies.UndefinedProxyError` that says why it
        has none; one product's failure leaves the others.
    """
    wanted = list(products)
    found: dict[str, Any] = {}
    size = chunk_size(subject)
    whole = size == subject.batch_size
    saver = memory_saver(subject.device) if whole and subject.micro_batch else nullcontext()
    with subject.lent(training=True) as leaves, saver:
        for start in range(0, subject.batch_size, size):
            try:
                forward = _Forward(subject, leaves, slice(start, start + size))
            except Exception as error:  # noqa: BLE001 - whatever the model raises is a status
                return dict.fromkeys(wanted, UndefinedProxyError(reason_of(error)))
            for product in wanted:
                share, merge = PRODUCTS[product]
                if isinstance(found.get(product), UndefinedProxyError):
                    continue
                try:
                    part = share(forward)
                    found[product] = merge(found[product], part) if start else part
                except Exception as error:  # noqa: BLE001
                    found[product] = UndefinedProxyError(reason_of(error))
            # Its graph goes before the next one grows.
            del forward
    return found


def chunk_size(subject: Subject) -> int:
    """Return how many samples a pass over the lent model may take at a time.

    The micro-batch that was asked for, or the whole batch if one sample's output depends on the
    others or on chance. Batch normalisation is recognised by its type, anything else by running
    two samples together and apart, in float64.

    Parameters
    ----------
    subject
        The module and the batch.
    """
    size = subject.micro_batch
    if size is None or size >= subject.batch_size:
        return subject.batch_size
    if any(isinstance(module, _BatchNorm) for module in subject.model.modules()):
        return subject.batch_size
    double = [x[:2].double() if x.is_floating_point() else x[:2] for x in subject.inputs]
    # A loan of its own: trying must not advance the state of the one that counts.
    with subject.lent(training=True, dtype=torch.float64) as leaves, torch.no_grad():
        # A branch that starts at zero hides in the output what its gradients show.
        for leaf in leaves.values():
            if not leaf.any():
                leaf.fill_(0.1)
        before = _random_states(subject.device)
        try:
            together, first, second = (
                subject.forward(tuple(x[rows].clone() for x in double))
                for rows in (slice(0, 2), slice(0, 1), slice(1, 2))
            )
            difference = (together - torch.cat([first, second])).abs().max()
        except Exception:  # noqa: BLE001 - a model may refuse single samples, or float64
            return subject.batch_size
        after = _random_states(subject.device)
    drew = any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    alike = bool(difference <= _ROUNDING * together.abs().max())
    return size if alike and not drew else subject.batch_size


def memory_saver(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which what backward passes need is kept off the accelerator.

    Parameters
    ----------
    device
        Where the pass runs.
    """
    if device.type == "cpu":
        return nullcontext()
    return torch.autograd.graph.save_on_cpu(pin_memory=device.type == "cuda")


def _random_states(device: torch.device) -> list[torch.Tensor]:
    on_cuda = device.type == "cuda"
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if on_cuda else [])]


class _Forward:
    """One forward pass on some of the samples, with the graph for its backward passes."""

    def __init__(self, subject: Subject, leaves: dict[str, nn.Parameter], rows: slice) -> None:
        self.subject = subject
        self.parameters = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        inputs = [x[rows].clone() for x in subject.inputs]
        self.inputs = [x.requires_grad_() for x in inputs if x.is_floating_point()]
        self.labels = None if subject.labels is None else subject.labels[rows]
        self.size = len(inputs[0])
        # The model gets copies: the first thing it does may be an in-place ReLU.
        self.output = subject.forward(tuple(x.clone() for x in inputs))

    def gradient(self, value: torch.Tensor, wrt: list[Any]) -> tuple[torch.Tensor, ...]:
        if not value.requires_grad:
            raise UndefinedProxyError(
                "expected an output that depends on the input or the parameters differentiably, "
                "found one without a gradient"
            )
        return torch.autograd.grad(
            value, wrt, retain_graph=True, allow_unused=True, materialize_grads=True
        )


def _loss_gradients(forward: _Forward) -> dict[str, torch.Tensor]:
    """Return this part's share of the gradient of the mean loss, by parameter name."""
    if not forward.parameters:
        raise UndefinedProxyError("expected a model with parameters, found none")
    loss = forward.subject.loss or _cross_entropy
    if forward.labels is None:
        raise UndefinedProxyError("expected labels for the loss, found none in the batch")
    value = loss(forward.output, forward.labels)
    if value.ndim:
        raise UndefinedProxyError(
            f"expected a loss that is one number, found shape {tuple(value.shape)}"
        )
    share = value * (forward.size / forward.subject.batch_size)
    gradients = forward.gradient(share, list(forward.parameters.values()))
    return dict(zip(forward.parameters, gradients, strict=True))


def _cross_entropy(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy, for whole images or for every pixel."""
    if output.ndim < 2 or output.shape[:1] + output.shape[2:] != labels.shape:
        raise UndefinedProxyError(
            "expected an output of shape (samples, classes) for the labels, "
            f"found output {tuple(output.shape)} and labels {tuple(labels.shape)}"
        )
    if labels.is_floating_point():
        raise UndefinedProxyError(f"expected labels that are class numbers, found {labels.dtype}")
    # Checked here because an accelerator answers a label out of range by dying.
    if labels.min() < 0 or labels.max() >= output.shape[1]:
        raise UndefinedProxyError(
            f"expected labels from 0 to {output.shape[1] - 1}, the model's last class, "
            f"found {int(labels.min())} to {int(labels.max())}"
        )
    return functional.cross_entropy(output, labels.long())


def _input_jacobian(forward: _Forward) -> torch.Tensor:
    """Return the gradient of the summed output for every sample of this part, one row each."""
    if not forward.inputs:
        raise UndefinedProxyError("expected floating-point inputs to differentiate, found none")
    gradients = forward.gradient(forward.output.sum(), forward.inputs)
    return torch.cat([gradient.reshape(forward.size, -1) for gradient in gradients], dim=1)


def _relu_signs(forward: _Forward) -> list[torch.Tensor]:
    """Return which units are on for the samples of this part."""
    return relu_signs(forward.output, forward.inputs, forward.size)


def _add(so_far: dict[str, torch.Tensor], part: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: gradient + part[name] for name, gradient in so_far.items()}


def _append(so_far: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    return torch.cat([so_far, part])


def _append_each(so_far: list[torch.Tensor], part: list[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.cat(layer) for layer in zip(so_far, part, strict=True)]


# Product → how a part of the batch gives its share, and how a share joins those before it.
PRODUCTS: dict[str, tuple[Callable[[_Forward], Any], Callable[[Any, Any], Any]]] = {
    "relu_signs": (_relu_signs, _append_each),
    "loss_gradients": (_loss_gradients, _add),
    "input_jacobian": (_input_jacobian, _append),
}
