"""Products and triangular solves in double precision, where no derivatives are needed."""

import numpy as np
import torch
from scipy.linalg.lapack import dtrtri
from torch import Tensor

__all__ = ["affine", "product", "solve_lower"]

# NumPy and SciPy come with OpenBLAS, which is fast on processors of every make. The library that
# PyTorch comes with takes two to four times as long on those that are not Intel's.

# Rows solved at a time. SciPy's own solvers take a tenth less time, but nothing else of Python can
# run meanwhile, as NumPy's products let it.
BLOCK = 64


def product(first: Tensor, second: Tensor) -> Tensor:
    """Return the products of matrices ``(*batch, n, k)`` and ``(*batch, k, m)``.

    No derivatives are recorded.
    """
    return torch.from_numpy(np.matmul(first.detach().numpy(), second.detach().numpy()))


def affine(base: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the products of matrices ``(b, n, k)`` and ``(b, k, m)``, added to a base.

    Where derivatives are recorded, or precision is single, PyTorch computes it.
    """
    if torch.is_grad_enabled() or base.dtype != torch.float64:
        return torch.baddbmm(base, first, second)
    return product(first, second).add_(base)


def solve_lower(factor: Tensor, right: Tensor) -> Tensor:
    r"""Return :math:`L^{-1} B` for a lower triangular matrix ``(n, n)``.

    Parameters
    ----------
    factor
        `L`.
    right
        `B`, shape ``(n, m)``.
    """
    lower, solved = factor.numpy(), right.numpy().copy()
    for first in range(0, len(lower), BLOCK):
        rows = slice(first, first + BLOCK)
        if first:
            solved[rows] -= lower[rows, :first] @ solved[:first]
        inverse, _ = dtrtri(np.tril(lower[rows, rows]), lower=1)
        solved[rows] = inverse @ solved[rows]
    return torch.from_numpy(solved)
