"""Where architectures and labels come from: tables, samples, whole spaces, studies."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.errors import InputError, unknown_name
from predictnas.labels import labels_frame, load_study
from predictnas.spaces import Space
from predictnas.storages import StudyAddress
from predictnas.tables import SHIPPED_TABLES, TableFile, shipped_table

__all__ = ["architectures", "read_architectures", "read_label_source", "table_path"]

TABLES = (".parquet", ".csv", ".csv.gz")


def read_label_source(source: str, *, curves: bool = False) -> pd.DataFrame:
    """Read labels from a table file, a table of the package or a study.

    Parameters
    ----------
    source
        Path of a Parquet or CSV file with an ``arch`` column, a name in
        :data:`~predictnas.tables.SHIPPED_TABLES`, or a study as ``sqlite:///labels.db#name``.
    curves
        Whether to read learning curves too, which are most of a file.

    Raises
    ------
    InputError
        If it cannot be read or holds no label.
    """
    if "://" not in source:
        return TableFile.open(table_path(source)).read(curves=curves)
    frame = labels_frame(load_study(StudyAddress.parse(source)), curves=curves)
    if frame.empty:
        raise InputError(f"{source}: the study holds no finished training yet")
    return frame


def read_architectures(source: str, space: Space) -> NDArray[np.int64]:
    """Read architectures from a file or a study.

    Parameters
    ----------
    source
        Path of a table with an ``arch`` column or of a text with one architecture a line, the name
        of a table of the package, or a study, whose labelled architectures are taken. Those that a
        table or a study repeats, with other seeds, are returned once.
    space
        The space that they belong to.

    Raises
    ------
    InputError
        If the source cannot be read or an entry is not an architecture of the space.
    """
    if "://" in source:
        texts = [str(text) for text in read_label_source(source)["arch"].drop_duplicates()]
    elif source in SHIPPED_TABLES or source.endswith(TABLES):
        table = TableFile.open(table_path(source)).read([])
        texts = [str(text) for text in table["arch"].drop_duplicates()]
    else:
        try:
            lines = Path(source).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{source}: cannot be read as text: {error}") from None
        texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise InputError(f"{source}: holds no architecture; expected one a line")
    try:
        return space.parse_all(texts)
    except InputError as error:
        raise InputError(f"{source}, {error}") from None


def architectures(
    space: Space, *, source: str | None, sample: int | None, everything: bool, seed: int
) -> NDArray[np.int64]:
    """Return the architectures that exactly one of three options names.

    Parameters
    ----------
    space
        The space.
    source
        A file or a study (see :func:`read_architectures`).
    sample
        How many to draw, distinct by key.
    everything
        Whether to take the whole space.
    seed
        Seed of the draw.

    Raises
    ------
    InputError
        If not exactly one is given.
    """
    if (source is not None) + (sample is not None) + everything != 1:
        raise InputError("expected exactly one of --archs SOURCE, --sample N and --all")
    if source is not None:
        return read_architectures(source, space)
    if sample is not None:
        if sample < 1:
            raise InputError(f"--sample must be at least 1, found {sample}")
        return space.sample(sample, np.random.default_rng(seed), distinct=True)
    return space.iterate()


def table_path(source: str) -> Path:
    """Return the file of a table that is called by its path or by its name."""
    path = Path(source)
    if source.endswith(TABLES) or path.exists() or path.name != source or path.suffix:
        return path
    if source not in SHIPPED_TABLES:
        choices = [
            *SHIPPED_TABLES,
            "a file that ends in .parquet, .csv or .csv.gz",
            "a study's URL",
        ]
        raise unknown_name("table", source, choices)
    return shipped_table(source)
