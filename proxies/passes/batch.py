"""The batch pass: one forward on the batch in training mode, and the backward passes on it.

Loss gradients and their derivatives, input Jacobian, activation patterns and channel saliency all
come from here, so that asking for several of them costs one forward pass.
"""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from proxies.errors import UndefinedProxyError, is_out_of_memory, reason_of
from proxies.passes.forward import Forward
from proxies.passes.layers import OverwrittenError, unless_overwritten
from proxies.passes.products import PRODUCTS, hessian_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxies.subject import Subject

__all__ = ["batch_pass", "chunk_size", "memory_saver", "saved_elsewhere"]

# How much two float64 outputs of one sample may differ, relative to the largest, by rounding.
_ROUNDING = 1e-8
# The product that needs another one of the whole batch before it can be measured.
_SECOND = "hessian_form"


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
        Names from :data:`~proxies.passes.products.PRODUCTS`, or ``"hessian_form"``, the θᵀ H g of
        :func:`~proxies.passes.products.hessian_form`.

    Returns
    -------
    dict
        For each product its value, or the :class:`~proxies.UndefinedProxyError` that says why it
        has none; one product's failure leaves the others.

    Raises
    ------
    MemoryError, RuntimeError
        When memory runs out: what was asked for may fit in smaller parts.
    """
    wanted = list(products)
    second = _SECOND in wanted
    size = chunk_size(subject)
    whole = size == subject.batch_size
    shares = {name: PRODUCTS[name] for name in PRODUCTS if name in wanted}
    if second:
        shares["loss_gradients"] = PRODUCTS["loss_gradients"]
        if whole:
            shares[_SECOND] = (lambda part: hessian_form(part, _detached(part)), torch.Tensor.add)
    with saved_elsewhere(subject, size):
        found = _sweep(subject, size, shares, twice=second and whole)
        if second and whole and isinstance(found[_SECOND], UndefinedProxyError):
            # What second derivatives stand in the way of, as in a checkpointed model.
            left = {
                name: share
                for name, share in shares.items()
                if name != _SECOND and isinstance(found[name], UndefinedProxyError)
            }
            if left:
                found |= _sweep(subject, size, left, twice=False)
        gradients = found["loss_gradients"] if second else None
        if second and not whole:
            if isinstance(gradients, dict):
                shares = {_SECOND: (lambda part: hessian_form(part, gradients), torch.Tensor.add)}
                found |= _sweep(subject, size, shares, twice=True)
            else:
                found[_SECOND] = gradients
    return {name: found[name] for name in wanted}


def _detached(part: Forward) -> dict[str, torch.Tensor]:
    return {name: gradient.detach() for name, gradient in part.loss_gradients.items()}


def _sweep(
    subject: Subject,
    size: int,
    shares: dict[str, tuple[Callable[[Forward], Any], Callable[[Any, Any], Any]]],
    *,
    twice: bool,
) -> dict[str, Any]:
    """Take the samples so many at a time and put the shares of every product together."""
    return unless_overwritten(
        lambda copies: _swept(subject, size, shares, twice=twice, copies=copies)
    )


def _swept(
    subject: Subject,
    size: int,
    shares: dict[str, tuple[Callable[[Forward], Any], Callable[[Any, Any], Any]]],
    *,
    twice: bool,
    copies: bool,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with subject.lent(training=True) as leaves:
        for start in range(0, subject.batch_size, size):
            try:
                rows = slice(start, start + size)
                watched = "channel_saliency" in shares
                forward = Forward(
                    subject, leaves, rows, watch_layers=watched, copies=copies, twice=twice
                )
            except Exception as error:
                if is_out_of_memory(error) or isinstance(error, OverwrittenError):
                    raise
                return dict.fromkeys(shares, UndefinedProxyError(reason_of(error)))
            for product, (share, merge) in shares.items():
                if isinstance(found.get(product), UndefinedProxyError):
                    continue
                try:
                    part = share(forward)
                    found[product] = merge(found[product], part) if start else part
                except Exception as error:
                    if is_out_of_memory(error):
                        raise
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


def saved_elsewhere(subject: Subject, size: int) -> AbstractContextManager[Any]:
    """Return the context in which a pass runs that takes so many samples at a time.

    Where a micro-batch was asked for and the batch stays whole nevertheless, it is that of
    :func:`memory_saver`.

    Parameters
    ----------
    subject
        The module and the batch.
    size
        What :func:`chunk_size` says.
    """
    if subject.micro_batch is None or size < subject.batch_size:
        return nullcontext()
    return memory_saver(subject.device)


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
    numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - a model may draw
    return [
        torch.get_rng_state(),
        *([torch.cuda.get_rng_state(device)] if on_cuda else []),
        torch.tensor(random.getstate()[1], device="cpu"),
        torch.tensor([*numpy_state["key"].tolist(), numpy_state["pos"]], device="cpu"),
    ]
