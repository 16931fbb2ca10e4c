"""The variants of predictors that the ablation compares."""

from collections.abc import Sequence

from encoders import ENCODERS
from predictnas.predictors import Predictor, get_predictor

__all__ = ["ENCODED", "LOSSES", "ablation"]

ENCODED = ("gp", "mlp", "forest", "boosting", "ridge")
"""Predictors that take any encoding."""

LOSSES = {"gnn": ("hinge", "squared")}
"""For predictors with a choice of losses, which."""


def ablation(predictors: Sequence[str]) -> dict[str, Predictor]:
    """Return every encoding with each of the predictors that take one, and all losses."""
    variants: dict[str, Predictor] = {
        f"{name}, {encoding}": get_predictor(name, encoding=encoding)
        for name in ENCODED
        if name in predictors
        for encoding in ENCODERS
    }
    for name, losses in LOSSES.items():
        if name in predictors:
            variants |= {f"{name}, {loss}": get_predictor(name, loss=loss) for loss in losses}
    return variants
