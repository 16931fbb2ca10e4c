"""The choices and conditions that the class of a space declares."""

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from predictnas.errors import InputError

__all__ = ["Conditions", "Option", "option_text", "read_choices", "read_conditions", "read_name"]

Option: TypeAlias = str | int | float | bool
"""A value that a choice may take."""

Conditions: TypeAlias = Mapping[str, Mapping[str, tuple[str, ...]]]
"""For a choice the options of earlier choices with which it exists."""

_TEXT = re.compile(r"[^\s,](?:[^\n\r,]*[^\s,])?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def option_text(option: Option) -> str:
    """Return an option as native text.

    Examples
    --------
    >>> [option_text(option) for option in ("relu", 64, 0.10, True)]
    ['relu', '64', '0.1', 'True']
    """
    return option if isinstance(option, str) else repr(option)


def read_name(name: Any) -> str:
    """Return the name of a space, which names of studies and files are made of.

    Raises
    ------
    InputError
        If it is not made of letters, digits, ``_``, ``.`` and ``-``.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InputError(
            f"expected the name of a space as letters, digits, '_', '.' and '-', a letter first, "
            f"found {name!r}; name it like my-space"
        )
    return name


def read_choices(name: str, choices: Any) -> Mapping[str, tuple[Option, ...]]:
    """Return the declared choices of the space `name`, each with its options.

    Raises
    ------
    InputError
        If they do not map names to sequences of distinct options, or an option is not a text,
        number or truth value that can stand between commas.
    """
    if not isinstance(choices, Mapping) or not choices:
        raise InputError(
            f"{name}: expected choices as a dictionary from names to options, found {choices!r:.80}"
            '; declare them like {"width": (32, 64)}'
        )
    read: dict[str, tuple[Option, ...]] = {}
    for choice, options in choices.items():
        if not isinstance(choice, str) or not choice.isidentifier():
            raise InputError(
                f"{name}: expected names of choices that could be variables, found {choice!r}; "
                "use letters, digits and '_'"
            )
        if not isinstance(options, (tuple, list, range)) or not options:
            raise InputError(
                f"{name}: expected the options of {choice} as a tuple, found {options!r:.80}; "
                f'declare them like "{choice}": (1, 2)'
            )
        for option in options:
            _check_option(name, choice, option)
        texts = [option_text(option) for option in options]
        if len(set(texts)) < len(texts):
            raise InputError(
                f"{name}: expected distinct options for {choice}, found {', '.join(texts)}; "
                "remove repeats"
            )
        read[choice] = tuple(options)
    return MappingProxyType(read)


def _check_option(name: str, choice: str, option: Any) -> None:
    if type(option) not in (str, int, float, bool) or (
        isinstance(option, float) and not math.isfinite(option)
    ):
        raise InputError(
            f"{name}: expected texts, numbers or truth values as options of {choice}, found "
            f"{option!r:.80}; name what it stands for and look it up in build"
        )
    if _TEXT.fullmatch(option_text(option)) is None:
        raise InputError(
            f"{name}: expected options of {choice} without commas, line breaks and spaces around "
            f"them, found {option!r:.80}; options stand between commas in native text"
        )


def read_conditions(
    name: str, conditions: Any, choices: Mapping[str, tuple[str, ...]]
) -> Conditions:
    """Return the declared conditions of the space `name`.

    Parameters
    ----------
    name
        The name of the space.
    conditions
        For a choice a dictionary from names of choices declared before it to the options with
        which it exists.
    choices
        The choices with their options in native text.

    Raises
    ------
    InputError
        If they are anything else.
    """
    form = 'declare them like {"width_2": {"layers": (2, 3)}}'
    if not isinstance(conditions, Mapping):
        raise InputError(
            f"{name}: expected conditions as a dictionary, found {conditions!r}; {form}"
        )
    order = list(choices)
    read: dict[str, Mapping[str, tuple[str, ...]]] = {}
    for choice, required in conditions.items():
        if choice not in choices or not isinstance(required, Mapping):
            raise InputError(
                f"{name}: expected conditions from choices to dictionaries, found {choice!r}: "
                f"{required!r:.80}; {form}"
            )
        wanted: dict[str, tuple[str, ...]] = {}
        for other, options in required.items():
            if other not in order[: order.index(choice)]:
                raise InputError(
                    f"{name}: expected {choice} to depend on choices declared before it, found "
                    f"{other!r}; declare that one first"
                )
            if not isinstance(options, (tuple, list, range)):
                raise InputError(
                    f"{name}: expected the options of {other} with which {choice} exists as a "
                    f"tuple, found {options!r:.80}; {form}"
                )
            wanted[other] = tuple(option_text(option) for option in options)
            unknown = sorted(set(wanted[other]).difference(choices[other]))
            if unknown or not wanted[other]:
                raise InputError(
                    f"{name}: expected {choice} to depend on {other} being among "
                    f"{', '.join(choices[other])}, found {', '.join(unknown) or 'none'}; "
                    "name options that it has"
                )
        read[choice] = MappingProxyType(wanted)
    return MappingProxyType(read)
