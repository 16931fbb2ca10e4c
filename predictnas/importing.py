"""Importing: other people's labels, and those of a study, as label tables in files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictnas.errors import InputError, unknown_name
from predictnas.labels import completed_trials, labels_frame, load_study
from predictnas.storages import StudyAddress
from predictnas.tables import table_suffix, write_table
from predictnas.tables.importers import IMPORTERS, ImportedTable, Importer, ImportOptions
from predictnas.tables.importers.imported import noted_columns

__all__ = ["FORMATS", "WrittenTable", "import_study", "import_tables", "read_columns"]

# Processor time does not depend on what else the machine did, as wall-clock time does.
ONCE = ("test_loss", "cpu_seconds")


def import_study(source: str, options: ImportOptions) -> list[ImportedTable]:
    """Read the labels of a study: one row a training, with curves, seconds, proxies.

    Parameters
    ----------
    source
        The study, as ``sqlite:///labels.db#name``.
    options
        None of them is needed.

    Raises
    ------
    InputError
        If the study does not exist or has no label yet.
    """
    del options
    study = load_study(StudyAddress.parse(source))
    labels = labels_frame(study, curves=True)
    if labels.empty:
        raise InputError(f"{source}: the study holds no finished training yet")
    trials = {trial.number: trial for trial in completed_trials(study)}
    frame = labels.drop(columns=["key", "number"])
    chosen = [trials[number] for number in labels["number"]]
    for name in ONCE:
        if all(name in trial.user_attrs for trial in chosen):
            frame[name] = [trial.user_attrs[name] for trial in chosen]
    noted = study.user_attrs
    provenance = [trial.user_attrs["provenance"] for trial in chosen]
    metadata = {
        "space": noted["space"],
        "task": noted["task"],
        "task_source": noted.get("task_source"),
        "task_fingerprint": noted.get("task_fingerprint"),
        "recipe": noted["recipe"],
        "fingerprint": noted["fingerprint"],
        **noted_columns(frame),
        "seeds": sorted({int(seed) for seed in frame["seed"]}),
        "source": f"study {study.study_name!r}, trained by PredictNAS",
        "licence": None,
        **{
            name: _common([each.get(name) for each in provenance])
            for name in ("splits", "device", "dtype", "versions")
        },
    }
    return [ImportedTable(noted["task"], frame, metadata)]


FORMATS: dict[str, Importer] = {**IMPORTERS, "study": import_study}


@dataclass(frozen=True)
class WrittenTable:
    """A table that was imported: its file, and what to tell of it.

    Attributes
    ----------
    path
        The file.
    dataset
        The data set of the labels.
    rows, architectures, seeds
        How many rows and distinct texts of architectures there are, and how many different seeds
        (0 where the source does not tell).
    checks
        Results of the benchmark's invariants; ``"none"`` where there is nothing to check by,
        and empty for labels of a study.
    """

    path: Path
    dataset: str
    rows: int
    architectures: int
    seeds: int
    checks: dict[str, Any] | str


def import_tables(
    format_name: str, source: str, out: Path, options: ImportOptions
) -> list[WrittenTable]:
    """Read a source and write a label table for each of its data sets.

    Parameters
    ----------
    format_name
        A name in :data:`FORMATS`.
    source
        The file, archive or study.
    out
        A file ending in ``.parquet``, ``.csv`` or ``.csv.gz``. Of a source with several data sets
        each has a file, with ``_`` and the data set's name before the suffix.
    options
        How to read the source.

    Raises
    ------
    InputError
        If the format is unknown, the source cannot be read or a file cannot be written.
    """
    if format_name not in FORMATS:
        raise unknown_name("format", format_name, FORMATS)
    suffix = table_suffix(out)
    tables = FORMATS[format_name](source, options)
    written = []
    for table in tables:
        path = out
        if len(tables) > 1:
            path = out.with_name(f"{out.name[: -len(suffix)]}_{table.dataset}{suffix}")
        metadata = {**table.metadata, "format": format_name}
        if options.licence is not None:
            metadata["licence"] = options.licence
        write_table(table.frame, path, metadata=metadata)
        seeds = table.frame["seed"].nunique() if "seed" in table.frame else 0
        written.append(
            WrittenTable(
                path,
                table.dataset,
                len(table.frame),
                table.frame["arch"].nunique(),
                seeds,
                table.metadata.get("checks", {}),
            )
        )
    return written


def read_columns(texts: Sequence[str] | None) -> dict[str, str]:
    """Read ``NAME=COLUMN`` texts: for each name of the result the column of the source.

    Raises
    ------
    InputError
        If one has another form, or a name occurs twice.
    """
    columns: dict[str, str] = {}
    for text in texts or ():
        name, _, column = text.partition("=")
        if not name or not column:
            raise InputError(
                f"--columns: expected NAME=COLUMN such as valid_accuracy=acc, found {text!r}"
            )
        if name in columns or name == "arch":
            raise InputError(f"--columns: the name {name!r} is taken already; give another")
        columns[name] = column
    return columns


def _common(values: Sequence[Any]) -> Any:
    """Return what all values are, or the list of the different ones."""
    distinct: list[Any] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    return distinct[0] if len(distinct) == 1 else distinct
