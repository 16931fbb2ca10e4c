"""Architectures written as JSON objects: reading their members, and refusing what is wrong."""

import json
from collections.abc import Sequence
from typing import Any

from predictnas.errors import InputError

__all__ = ["option_index", "option_indices", "read_members"]


def read_members(text: str, names: Sequence[str], notation: str) -> dict[str, Any]:
    """Return the members of a JSON object that has exactly those named.

    Parameters
    ----------
    text
        What to read.
    names
        The members, in any order.
    notation
        How such an architecture is written, for messages.

    Raises
    ------
    InputError
        If it is something else. Where the text is not JSON, the message gives the position,
        counted in characters from 1.
    """
    if not isinstance(text, str):
        raise InputError(f"expected the text of an architecture, found {text!r}; write {notation}")
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        found = repr(text[error.pos :][:20]) if text[error.pos :] else "the end"
        raise InputError(
            f"expected JSON, found {found} at character {error.pos + 1}; write {notation}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise InputError(
            f"expected an architecture, found JSON of great depth or length; write {notation}"
        ) from error
    if not isinstance(pairs, _Pairs) or sorted(name for name, _ in pairs) != sorted(names):
        expected = f"an object with the members {', '.join(names)}, each once"
        raise InputError(f"expected {expected}, found {text[:60]}; write {notation}")
    return dict(pairs)


class _Pairs(list[tuple[str, Any]]):
    """Members of a JSON object as they stand, repeated ones too."""


def option_index(name: str, value: object, options: Sequence[str], notation: str) -> int:
    """Return which option a number is.

    Parameters
    ----------
    name
        Where the number stands, for messages.
    value
        The number; ``4`` and ``4.0`` are the same.
    options
        The options, as text.
    notation
        How such an architecture is written, for messages.

    Raises
    ------
    InputError
        If it is none of them.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for index, option in enumerate(options):
            if float(option) == value:
                return index
    raise InputError(
        f"expected for {name} one of {', '.join(options)}, found {_shown(value)}; write {notation}"
    )


def option_indices(
    name: str, values: object, options: Sequence[str], lengths: range, notation: str
) -> list[int]:
    """Return which options the numbers of a list are.

    Parameters
    ----------
    name, options, notation
        See `option_index`.
    values
        The list.
    lengths
        How many numbers it may hold.

    Raises
    ------
    InputError
        If it is no such list, or one of the numbers no option.
    """
    if not isinstance(values, list) or len(values) not in lengths:
        count = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
        raise InputError(
            f"expected as {name} {count} numbers, found {_shown(values)}; write {notation}"
        )
    return [
        option_index(f"{name}[{index}]", value, options, notation)
        for index, value in enumerate(values)
    ]


def _shown(value: object) -> str:
    if isinstance(value, list) and len(value) > 6:
        return f"{len(value)} numbers"
    return json.dumps(value, separators=(",", ":"))[:60]
