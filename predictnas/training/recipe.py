"""Recipes: how every candidate of a study is trained."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from predictnas.errors import InputError
from predictnas.spaces import Space
from predictnas.training.tasks import Task

__all__ = ["Recipe", "default_recipe", "study_fingerprint"]

_KINDS: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool}


@dataclass(frozen=True)
class Recipe:
    """How a candidate is trained: SGD with Nesterov momentum under a cosine schedule.

    The learning rate rises linearly over the warm-up epochs and falls along half a cosine to
    zero at the end (Loshchilov and Hutter, 2017, arXiv:1608.03983), step by step. Weight decay
    spares biases and normalisation (He et al., 2019, arXiv:1812.01187).

    Parameters
    ----------
    epochs
        Passes over the training images.
    batch_size
        Images a step; an incomplete last batch is left out.
    learning_rate
        Peak learning rate.
    momentum
        Nesterov momentum in [0, 1).
    weight_decay
        L2 penalty on weights.
    warmup_epochs
        Epochs of rising learning rate, may be a fraction.
    label_smoothing
        Share of the target spread over all classes, in [0, 1).
    gradient_clip
        Largest Euclidean norm of the gradient.
    shift
        Augmentation: every training image moves by up to so many pixels each way.
    flip
        Augmentation: half of the training images are mirrored left to right.
    scale
        Size of the network, by the names that the space knows: ``{"channels": 8, "cells": 1}``.

    Raises
    ------
    InputError
        If a value is out of its range.
    """

    epochs: int = 15
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    gradient_clip: float = 5.0
    shift: int = 0
    flip: bool = False
    scale: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ranges = {
            "epochs": (1, math.inf),
            "batch_size": (2, math.inf),
            "learning_rate": (1e-12, math.inf),
            "momentum": (0.0, 0.9999),
            "weight_decay": (0.0, math.inf),
            "warmup_epochs": (0.0, float(self.epochs)),
            "label_smoothing": (0.0, 0.9999),
            "gradient_clip": (1e-12, math.inf),
            "shift": (0, math.inf),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"recipe: {name} must be in [{low:g}, {high:g}], found {value!r}")
        for name, size in self.scale.items():
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise InputError(
                    f"recipe: scale {name} must be a whole number of at least 1, found {size!r}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values."""
        return {**dataclasses.asdict(self), "scale": dict(sorted(self.scale.items()))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Build a recipe from :meth:`to_dict`'s values.

        Raises
        ------
        InputError
            If a name is not one of a recipe's, or a value has the wrong type.
        """
        kinds: dict[str, type | tuple[type, ...]] = {
            field.name: _KINDS.get(getattr(field.type, "__name__", ""), Mapping)
            for field in dataclasses.fields(cls)
        }
        for name, value in values.items():
            if name not in kinds:
                raise InputError(f"recipe: unknown entry {name!r}; choose from: {', '.join(kinds)}")
            # To Python a bool is an int; to a recipe it is not.
            if not isinstance(value, kinds[name]) or (
                isinstance(value, bool) and kinds[name] is not bool
            ):
                raise InputError(f"recipe: {name} has the wrong type, found {value!r}")
        return cls(**values)


def default_recipe(space: Space, task: Task, **overrides: Any) -> Recipe:
    """Return the recipe for a space on a task.

    Parameters
    ----------
    space
        The space; its own scale is the default where the task suggests none.
    task
        The task; what it suggests of the network's scale goes before the space's.
    **overrides
        Values that replace a recipe's defaults; ``scale`` is merged name by name.

    Raises
    ------
    InputError
        If an override or a scale name is unknown.
    """
    suggested = {k: v for k, v in task.suggested_scale.items() if k in space.default_scale}
    asked = overrides.pop("scale", {})
    if not isinstance(asked, Mapping):
        raise InputError(f"recipe: scale must map names to whole numbers, found {asked!r}")
    unknown = [name for name in asked if name not in space.default_scale]
    if unknown:
        raise InputError(
            f"scale: {space.name} has no {unknown[0]!r}; "
            f"choose from: {', '.join(space.default_scale)}"
        )
    scale = {**space.default_scale, **suggested, **asked}
    return Recipe.from_dict({**overrides, "scale": scale})


def study_fingerprint(space: Space, task: Task, recipe: Recipe) -> str:
    """Return the hash that names what the labels of a study mean, 12 hexadecimal digits.

    Labels with one fingerprint may stand side by side: the same space, the same images in the
    same splits, the same recipe.
    """
    text = json.dumps([space.identity, task.fingerprint, recipe.to_dict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
