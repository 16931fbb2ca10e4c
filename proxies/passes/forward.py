"""One forward pass on some samples of the batch, with the graph for its backward passes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from proxies.errors import UndefinedProxyError
from proxies.passes.layers import LayerWatcher, layer_weights
from proxies.passes.second_order import TwiceDifferentiable

if TYPE_CHECKING:
    from torch import nn

    from proxies.subject import Subject

__all__ = ["Forward", "check_finite", "mean_loss"]


class Forward:
    """One forward pass on some of the samples, in training mode.

    Parameters
    ----------
    subject
        The module and the batch.
    leaves
        What `subject.lent` yielded.
    rows
        The samples.
    watch_layers
        Whether to remember what comes out of layers.
    copies
        Whether to hand on copies of what is remembered, which the model may write into.
    twice
        Whether gradients of the loss will be differentiated again.

    Raises
    ------
    OverwrittenError
        If the model wrote into what should be remembered: it needs `copies`, in a fresh loan.
    """

    def __init__(
        self,
        subject: Subject,
        leaves: dict[str, nn.Parameter],
        rows: slice,
        *,
        watch_layers: bool = False,
        copies: bool = False,
        twice: bool = False,
    ) -> None:
        self.subject = subject
        self.rows = rows
        self.parameters = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        names = layer_weights(subject.model)
        self.weights = {name: self.parameters[name] for name in names if name in self.parameters}
        self.labels = None if subject.labels is None else subject.labels[rows]
        inputs = [subject.laid_out(x[rows].clone()) for x in subject.inputs]
        self.inputs = [x.requires_grad_() for x in inputs if x.is_floating_point()]
        self.size = len(inputs[0])
        self.second_order = TwiceDifferentiable(self.weights.values()) if twice else None
        self.watcher = LayerWatcher(copies=copies) if watch_layers else None
        self.output = self._run(inputs)

    def _run(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        with ExitStack() as stack:
            if self.second_order is not None:
                # The fused kernels of attention have no second derivatives.
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            for mode in (self.second_order, self.watcher):
                if mode is not None:
                    stack.enter_context(mode)
            # The model gets copies: the first thing it does may be an in-place ReLU.
            output = self.subject.forward(tuple(x.clone() for x in inputs))
        if self.watcher is not None:
            self.watcher.check()
        check_finite(output)
        return output

    def gradient(self, value: torch.Tensor, wrt: list[Any]) -> tuple[torch.Tensor, ...]:
        """Return the gradients of `value`, zero where it does not depend on something.

        Parameters
        ----------
        value
            One number.
        wrt
            Tensors.

        Raises
        ------
        UndefinedProxyError
            If `value` has no autograd graph.
        """
        _check_differentiable(value)
        return torch.autograd.grad(
            value, wrt, retain_graph=True, allow_unused=True, materialize_grads=True
        )

    @cached_property
    def _of_loss(self) -> tuple[dict[str, torch.Tensor], list[torch.Tensor | None]]:
        """The gradients of this part's share of the loss, by parameters and by layer outputs."""
        if not self.parameters:
            raise UndefinedProxyError("expected a model with parameters, found none")
        value = mean_loss(self.subject, self.output, self.labels)
        share = value * (self.size / self.subject.batch_size)
        _check_differentiable(share)
        edges = [call.edge for call in self.watcher.calls] if self.watcher is not None else []
        found = torch.autograd.grad(
            share,
            [*self.parameters.values(), *edges],
            retain_graph=True,
            create_graph=self.second_order is not None,
            allow_unused=True,
        )
        by_parameter = {
            name: torch.zeros_like(leaf) if gradient is None else gradient
            for (name, leaf), gradient in zip(self.parameters.items(), found, strict=False)
        }
        return by_parameter, list(found[len(self.parameters) :])

    @property
    def loss_gradients(self) -> dict[str, torch.Tensor]:
        """Gradients of this part's share of the mean loss, by parameter name."""
        return self._of_loss[0]

    @property
    def layer_gradients(self) -> list[torch.Tensor | None]:
        """Gradients of this part's share of the mean loss by what every layer call returned."""
        return self._of_loss[1]


def check_finite(output: torch.Tensor) -> None:
    """Refuse an output that is not finite: what led to it compares with nothing.

    Parameters
    ----------
    output
        Of the model.

    Raises
    ------
    UndefinedProxyError
        If it holds nan or an infinity.
    """
    if not output.detach().isfinite().all():
        raise UndefinedProxyError("expected a finite output from the model, found nan or infinity")


def mean_loss(subject: Subject, output: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """Return the mean loss of some samples.

    Parameters
    ----------
    subject
        The module and the batch.
    output, labels
        Of the samples.

    Raises
    ------
    UndefinedProxyError
        If there are no labels, they do not fit the output, or the loss is not one number.
    """
    if labels is None:
        raise UndefinedProxyError("expected labels for the loss, found none in the batch")
    value = (subject.loss or _cross_entropy)(output, labels)
    if value.ndim:
        raise UndefinedProxyError(
            f"expected a loss that is one number, found shape {tuple(value.shape)}"
        )
    return value


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


def _check_differentiable(value: torch.Tensor) -> None:
    if not value.requires_grad:
        raise UndefinedProxyError(
            "expected an output that depends on the input or the parameters differentiably, "
            "found one without a gradient"
        )
