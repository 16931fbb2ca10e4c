"""Parameters that several predictors suggest for tuning in the same way."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["suggest_encoding", "suggest_warp"]

ENCODINGS = ("graf", "graf+path", "graf+adjacency", "graf+laplacian", "path", "weisfeiler_lehman")


def suggest_encoding(trial: "Trial", *, optional: bool = False) -> tuple[str, ...]:
    """Suggest encodings, alone or together; where they are `optional`, also none."""
    choices = ("none", *ENCODINGS) if optional else ENCODINGS
    chosen = trial.suggest_categorical("encoding", choices)
    return () if chosen == "none" else tuple(chosen.split("+"))


def suggest_warp(trial: "Trial") -> str:
    """Suggest whether targets are warped."""
    return str(trial.suggest_categorical("warp", ("yeo-johnson", "none")))
