"""A BoTorch model over a finite pool of architectures."""

from typing import Any

import numpy as np
import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.model import Model
from botorch.posteriors.posterior import Posterior
from torch import Tensor

from predictnas.errors import InputError
from predictnas.predictors.base import Predictor

__all__ = ["PoolModel"]


class PoolModel(Model):
    """A fitted predictor as a BoTorch model whose inputs are rows of a table.

    BoTorch's inputs are points of a vector space, which graphs are not. Here the one coordinate of
    a point is the number of a row, so that every acquisition function, analytic or by sampling,
    works on architectures. There are no gradients with respect to inputs: evaluate all rows and
    take the best.

    In the unit of the targets, means and variances are exact moments of a posterior that is
    skewed where the targets are, and analytic acquisition functions, which know these moments
    only, take the long lower tail of an uncertain architecture for a chance to be better than
    all. Over warped targets the posterior of a Gaussian process is Gaussian, and what they
    compute is right: prefer ``warped=True`` for them. Acquisition functions by sampling need no
    such care.

    Parameters
    ----------
    predictor
        A fitted predictor.
    table
        A table of `n` architectures with the columns of the training table.
    warped
        Whether the posterior is over warped targets; thresholds such as the best label then have
        to pass through `in_model_unit`.

    Examples
    --------
    Expected improvement of every row of a table over the best label::

        model = PoolModel(predictor, table, warped=True)
        best = model.in_model_unit(labels.max())
        values = LogExpectedImprovement(model, best_f=best)(model.rows())
    """

    def __init__(self, predictor: Predictor, table: Any, *, warped: bool = False) -> None:
        super().__init__()
        self._posterior_over = predictor.posterior_over(table, warped=warped)
        self._warp = predictor.warp_ if warped else None
        self._size = len(table)

    @property
    def num_outputs(self) -> int:
        """The number of outputs: 1."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """The batch shape of the model: empty."""
        return torch.Size()

    def rows(self) -> Tensor:
        """Return all rows as `n` batches of one point, shape ``(n, 1, 1)``."""
        return torch.arange(self._size, dtype=torch.float64).reshape(-1, 1, 1)

    def in_model_unit(self, target: float) -> float:
        """Return a target in the unit of the posterior."""
        if self._warp is None:
            return float(target)
        return float(self._warp.transform(np.array([target]))[0])

    def posterior(
        self,
        X: Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Posterior:
        """Return the joint posterior of the noise-free targets of some rows.

        Parameters
        ----------
        X
            Row numbers, shape ``(*batch, q, 1)``.
        output_indices
            None or ``[0]``: there is one output.
        observation_noise
            False: the posterior is that of noise-free targets.
        posterior_transform
            A transform to apply to the posterior.

        Raises
        ------
        InputError
            If `X` is not row numbers of the table, or an output or noise is asked for that there
            is not.
        """
        if output_indices not in (None, [0]):
            raise InputError(f"expected output 0, the only one, found {output_indices}")
        if observation_noise is not False:
            raise InputError(
                "expected observation_noise=False, found another value; "
                "Predictor.predict gives standard deviations with noise"
            )
        posterior = self._posterior_over(self._row_numbers(X))
        return posterior if posterior_transform is None else posterior_transform(posterior, X=X)

    def _row_numbers(self, X: Tensor) -> Tensor:
        rows = X.squeeze(-1).round().long() if X.ndim >= 2 and X.shape[-1] == 1 else None
        if (
            rows is None
            or not torch.equal(rows.to(X), X.squeeze(-1))
            or rows.min() < 0
            or rows.max() >= self._size
        ):
            raise InputError(
                f"expected row numbers from 0 to {self._size - 1} of shape (..., q, 1), found a "
                f"tensor of shape {tuple(X.shape)} that is not; see PoolModel.rows"
            )
        return rows
