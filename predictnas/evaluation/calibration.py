"""Whether a predictor's standard deviations say how wrong it is."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from predictnas.errors import InputError
from predictnas.evaluation.json_values import json_value

__all__ = ["Calibration", "calibration", "constant_nll"]

LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Calibration:
    """How forecasts N(mean, std²) fit what was measured.

    Attributes
    ----------
    n
        Number of forecasts.
    coverage
        For each central interval (``"90 %"``) the share of measurements inside; calibrated
        forecasts have the level itself.
    nll
        Mean negative log-likelihood of a measurement, in nats; lower is better.
    baseline_nll
        The same with one standard deviation for all forecasts, the root mean square error, which is
        the best constant in hindsight. Standard deviations that carry information are below it.
    sharpness
        Mean standard deviation, in units of the target; of two calibrated predictors the one with
        the lower value says more.
    """

    n: int
    coverage: dict[str, float]
    nll: float
    baseline_nll: float
    sharpness: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON; what is not finite is ``None``."""
        values: dict[str, Any] = json_value(asdict(self))
        return values


def calibration(y: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Calibration:
    """Compare Gaussian forecasts with measurements.

    nll = ½ log 2π + mean(log σ + (y − μ)² / 2σ²); baseline_nll = ½ log(2π e · mean (y − μ)²), which
    is −∞ when every mean is exact.

    Parameters
    ----------
    y
        Measurements, shape ``(n,)``.
    mean, std
        Means and standard deviations of the forecasts, shape ``(n,)``, in units of `y`.

    Raises
    ------
    InputError
        When shapes differ, there are no forecasts, or a value is not finite or a standard deviation
        not above zero.

    References
    ----------
    Gneiting, Balabdaoui & Raftery (2007), Probabilistic forecasts, calibration and sharpness.
    Journal of the Royal Statistical Society B 69.
    """
    measured, centre, spread = (np.asarray(values, dtype=np.float64) for values in (y, mean, std))
    if measured.ndim != 1 or not measured.shape == centre.shape == spread.shape:
        raise InputError(
            "calibration expects one mean and one standard deviation per measurement, found shapes "
            f"{measured.shape}, {centre.shape} and {spread.shape}"
        )
    if len(measured) == 0:
        raise InputError("calibration expects at least one forecast, found none")
    for name, values in (("y", measured), ("mean", centre), ("std", spread)):
        if not np.isfinite(values).all():
            raise InputError(f"calibration expects finite values, found NaN or inf in {name}")
    if np.any(spread <= 0):
        raise InputError(
            f"calibration expects standard deviations above zero, found {spread.min():g}"
        )
    error = measured - centre
    mean_square = float(np.mean(error**2))
    return Calibration(
        n=len(measured),
        coverage={
            f"{100 * level:g} %": float(
                np.mean(np.abs(error) <= stats.norm.ppf((1 + level) / 2) * spread)
            )
            for level in LEVELS
        },
        nll=float(0.5 * np.log(2 * np.pi) + np.mean(np.log(spread) + (error / spread) ** 2 / 2)),
        baseline_nll=float(0.5 * np.log(2 * np.pi * np.e * mean_square))
        if mean_square > 0
        else -np.inf,
        sharpness=float(np.mean(spread)),
    )


def constant_nll(y: ArrayLike, mean: ArrayLike, residuals: ArrayLike) -> float:
    """Return the negative log-likelihood of forecasts that all have the same standard deviation.

    nll = ½ log 2πσ² + mean (y − μ)² / 2σ² with σ² the mean square of `residuals`. The deviation
    is known before anything is measured, unlike that of ``baseline_nll`` in :class:`Calibration`,
    which this can never fall below.

    Parameters
    ----------
    y
        Measurements, shape ``(n,)``.
    mean
        Means of the forecasts, shape ``(n,)``, in units of `y`.
    residuals
        What is known of the errors of such forecasts: those of a cross-validation, shape ``(m,)``.

    Returns
    -------
    float
        In nats; NaN where there are no residuals or all of them are zero.

    Raises
    ------
    InputError
        When the shapes of `y` and `mean` differ, there are no forecasts, or a value is not finite.
    """
    measured, centre, errors = (np.asarray(v, dtype=np.float64) for v in (y, mean, residuals))
    if measured.ndim != 1 or measured.shape != centre.shape or len(measured) == 0:
        raise InputError(
            "expected one mean for each of at least one measurement, found shapes "
            f"{measured.shape} and {centre.shape}"
        )
    if not all(np.isfinite(values).all() for values in (measured, centre, errors)):
        raise InputError("expected finite measurements, means and residuals, found NaN or inf")
    variance = float(np.mean(errors**2)) if errors.size else 0.0
    if variance == 0.0:
        return float("nan")
    mean_square = float(np.mean((measured - centre) ** 2))
    return 0.5 * float(np.log(2 * np.pi * variance) + mean_square / variance)
