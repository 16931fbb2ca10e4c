"""Parameters that several predictors suggest for tuning in the same way."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["suggest_encoding", "suggest_warp"]

ENCODINGS = ("graf", "graf+path", "graf+adjacency", "graf+laplacian", "path", "weisfeiler_lehman")


def suggest_encoding(trial: "Trial") -> tuple[str, ...]:
    """Suggest encodings, alone or together."""
    return tuple(trial.suggest_categorical("encoding", ENCODINGS).split("+"))


def suggest_warp(trial: "Trial") -> str:
    """Suggest whether targets are warped."""
    return str(trial.suggest_categorical("warp", ("yeo-johnson", "none")))
