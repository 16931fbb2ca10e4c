"""Checks of predictor parameters."""

from numbers import Integral, Real
from typing import Any

import numpy as np

from predictnas.errors import InputError

__all__ = ["check_number", "check_whole_number"]


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
