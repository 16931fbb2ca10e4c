"""Results as plain values that JSON can hold."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["json_value"]


def json_value(value: Any) -> Any:
    """Return a value as JSON holds it: NumPy unwrapped, tuples as lists, not-finite as ``None``.

    JSON has no NaN and no infinity; a reader of the file sees ``null`` where a number is undefined.

    Parameters
    ----------
    value
        A number, string, ``None``, NumPy scalar or array, or any nesting of mappings and sequences.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [json_value(item) for item in value]
    return value
