"""Checks of predictor parameters."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from predictnas.errors import InputError

__all__ = ["check_names", "check_number", "check_whole_number"]


def check_whole_number(name: str, value: Any, smallest: int) -> None:
    """Raise InputError unless the parameter `name` is a whole number of at least `smallest`."""
    if not isinstance(value, Integral) or isinstance(value, (bool, np.bool_)) or value < smallest:
        raise InputError(
            f"expected {name} as a whole number of at least {smallest}, found {value!r}"
        )


def check_number(name: str, value: Any, above: float, largest: float) -> None:
    """Raise InputError unless the parameter `name` is a number in (`above`, `largest`]."""
    number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    if not number or not above < value <= largest:
        raise InputError(
            f"expected {name} as a number above {above:g} and up to {largest:g}, found {value!r}"
        )


def check_names(name: str, value: Any) -> None:
    """Raise InputError unless the parameter `name` is a sequence of names, one name or None.

    One name is no vocabulary: for ``operations`` it is refused.
    """
    if value is None and name == "operations":
        return
    if not isinstance(value, Sequence) or (isinstance(value, str) and name == "operations"):
        raise InputError(f"expected {name} as a tuple of names, found {value!r}")
