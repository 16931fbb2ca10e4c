"""The split pass: loss gradients of parts of the batch, each taken as a batch of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from proxies.errors import UndefinedProxyError
from proxies.passes.batch import batch_pass
from proxies.passes.layers import layer_weights

if TYPE_CHECKING:
    from proxies.subject import Subject

__all__ = ["SPLITS", "split_gradients"]

# Into how many parts a batch is split.
SPLITS = 2


def split_gradients(subject: Subject) -> list[dict[str, torch.Tensor]]:
    """Return for every part of the batch the gradients of its mean loss, with its statistics.

    Parameters
    ----------
    subject
        The module and the batch, of at least two samples.

    Returns
    -------
    list of dict
        Name of a convolution's or linear layer's weight → gradient.

    Raises
    ------
    UndefinedProxyError
        If the batch has one sample, or there is no loss gradient.
    """
    if subject.batch_size < SPLITS:
        raise UndefinedProxyError(
            f"expected at least {SPLITS} samples to split, found {subject.batch_size}"
        )
    wanted = layer_weights(subject.model)
    found = []
    for rows in torch.tensor_split(torch.arange(subject.batch_size, device="cpu"), SPLITS):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        own = replace(
            subject,
            inputs=tuple(x[part] for x in subject.inputs),
            labels=None if subject.labels is None else subject.labels[part],
        )
        gradients = batch_pass(own, ["loss_gradients"])["loss_gradients"]
        if isinstance(gradients, UndefinedProxyError):
            raise gradients
        found.append({name: gradients[name] for name in wanted if name in gradients})
    return found
