"""The gradients of the output by the input, also where those of its sum vanish identically."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from proxies.errors import UndefinedProxyError

if TYPE_CHECKING:
    from proxies.passes.forward import Forward

__all__ = ["input_jacobian"]

# A gradient that is zero but for rounding is a few to some dozen times the rounding of the type,
# relative to one that is not.
_ROUNDING = 1e3
# And it would change the output by far less than its size where the input changes by its own; only
# there is it compared with a second gradient.
_SMALL = 1.0


def input_jacobian(forward: Forward) -> torch.Tensor:
    """Return the gradient of the summed output for every sample of this part, one row each.

    The sum over a batch may not depend on the input at all: behind a batch normalisation it is a
    constant if what follows keeps sums, as global pooling and a linear layer do, and so is that
    of a softmax. What comes out is then rounding. In its place come the gradients of the sum with
    signs Σ s_n t_k f_k(x_n), drawn from the seed: one a sample, which where samples do not
    interact changes no more than the signs of rows, and one a position of the output, which
    reads the outputs in another direction as good as the first.

    Parameters
    ----------
    forward
        A part of the batch.

    Returns
    -------
    torch.Tensor
        Shape ``(samples, inputs)``.
    """
    if not forward.inputs:
        raise UndefinedProxyError("expected floating-point inputs to differentiate, found none")
    rows = _rows(forward, forward.output.sum())
    size = _norm(*forward.inputs) * _norm(rows)
    if forward.output.shape[:1] != (forward.size,) or not size <= _SMALL * _norm(forward.output):
        return rows
    with_signs = _rows(forward, (forward.output * _signs(forward)).sum())
    rounding = _ROUNDING * torch.finfo(rows.dtype).eps
    return with_signs if _norm(rows) <= rounding * _norm(with_signs) else rows


def _rows(forward: Forward, value: torch.Tensor) -> torch.Tensor:
    gradients = forward.gradient(value, forward.inputs)
    return torch.cat([gradient.reshape(forward.size, -1) for gradient in gradients], dim=1)


def _norm(*tensors: torch.Tensor) -> float:
    """Return the length of what tensors hold together, without overflow."""
    return math.hypot(*(float(tensor.detach().double().norm()) for tensor in tensors))


def _signs(forward: Forward) -> torch.Tensor:
    """Return s_n t_k for the samples of this part."""
    output = forward.output
    generator = torch.Generator().manual_seed(forward.subject.seed)
    # As many of one sign as of the other: all alike they would be no signs.
    of_samples, of_outputs = (
        (torch.randperm(count, generator=generator, device="cpu") % 2).to(output) * 2 - 1
        for count in (forward.subject.batch_size, output[0].numel())
    )
    return (of_samples[forward.rows, None] * of_outputs).reshape(output.shape)
