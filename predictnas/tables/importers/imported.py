"""What an importer is asked for and what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pandas as pd

from predictnas.errors import InputError
from predictnas.spaces import Archs, Space
from predictnas.tables.curves import CURVE_PREFIX
from predictnas.tables.labels import PROXY_PREFIX, SEED

__all__ = ["ImportOptions", "ImportedTable", "as_imported", "chosen", "noted_columns", "parsed"]

SPLITS = {"valid": "validation", "test": "test", "train": "training"}
NO_CHECKS = "none"


@dataclass(frozen=True)
class ImportOptions:
    """How a source is to be read; what a format does not need is not looked at.

    Attributes
    ----------
    space
        Name of the space, where the source does not tell.
    dataset
        The one data set to read of several; None: all of them.
    arch_column
        The column with the architectures, in columns of a table.
    columns
        For the name of every column of the result the column of the source; empty: all of them
        under their own names.
    units
        Of accuracies in the source, ``"percent"`` or ``"fraction"``; the result is in percent.
    licence
        That of the data, to be noted; None: what the format is known to be published under.
    """

    space: str | None = None
    dataset: str | None = None
    arch_column: str = "arch"
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    units: str = "percent"
    licence: str | None = None


@dataclass(frozen=True, eq=False)
class ImportedTable:
    """The label table of one data set.

    Attributes
    ----------
    dataset
        Its name, for messages and names of files.
    frame
        ``arch`` in native text, perhaps ``seed``, accuracies in percent, ``proxy_*``, ``curve_*``.
    metadata
        What goes into the file: space, task, split, units, seeds, source, licence, and under
        ``checks`` which invariants of the benchmark held on how many architectures, ``"none"``
        where there is nothing to check by.
    """

    dataset: str
    frame: pd.DataFrame
    metadata: dict[str, Any]


def as_imported(
    frame: pd.DataFrame,
    space: Space,
    dataset: str,
    *,
    source: str,
    licence: str | None = None,
    checks: Mapping[str, Any] | None = None,
    **more: Any,
) -> ImportedTable:
    """Return a table with its metadata.

    Parameters
    ----------
    frame
        The table, accuracies in percent.
    space, dataset
        What it holds labels of.
    source
        Where it comes from.
    licence
        That of the data, where it is known.
    checks
        Results of the invariants.
    more
        What else to note.
    """
    metadata = {
        "space": space.name,
        "task": dataset,
        **noted_columns(frame),
        "seeds": sorted({int(s) for s in frame[SEED]}) if SEED in frame else None,
        "source": source,
        "licence": licence,
        "checks": dict(checks) if checks else NO_CHECKS,
        **more,
    }
    return ImportedTable(dataset, frame, metadata)


def noted_columns(frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return what to note of the columns of a table, by their names.

    Parameters
    ----------
    frame
        The table; ``proxy_*`` are left out.

    Returns
    -------
    dict
        ``split``: of every column that begins with ``valid``, ``test`` or ``train``, perhaps behind
        ``curve_``, on which data it was measured. ``units``: ``"percent"`` of accuracies and
        ``"seconds"`` of times, which have no split.
    """
    measured = [
        str(name) for name in frame if name not in ("arch", SEED) and PROXY_PREFIX not in str(name)
    ]
    times = [name for name in measured if "seconds" in name.split("_")]
    split = {
        name: SPLITS[part]
        for name in measured
        if (part := name.removeprefix(CURVE_PREFIX).partition("_")[0]) in SPLITS
        and name not in times
    }
    units = {name: "percent" for name in measured if "accuracy" in name}
    return {"split": split, "units": {**units, **dict.fromkeys(times, "seconds")}}


def chosen(names: list[str], options: ImportOptions, source: str) -> list[str]:
    """Return the data sets to read.

    Raises
    ------
    InputError
        When the one that is asked for is not among those of the source.
    """
    if options.dataset is None:
        return names
    if options.dataset not in names:
        raise InputError(
            f"{source} holds no data set {options.dataset!r}; choose from: {', '.join(names)}"
        )
    return [options.dataset]


def parsed(texts: list[str], space: Space, source: str) -> Archs:
    """Read architectures in native text.

    Raises
    ------
    InputError
        When one is not of the space; the message names the source.
    """
    try:
        return space.parse_all(texts)
    except InputError as error:
        raise InputError(f"{source}, {error}") from None
