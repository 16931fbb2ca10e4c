"""NAS-Bench-101: its records as JSON."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from predictnas.errors import InputError
from predictnas.spaces import get_space
from predictnas.tables.importers.imported import (
    ImportedTable,
    ImportOptions,
    as_imported,
    parsed,
)
from predictnas.tables.importers.parameters import check_parameters
from predictnas.tables.units import check_units

__all__ = ["import_nasbench101"]

SOURCE = "NAS-Bench-101 (Ying et al. 2019, arXiv:1902.09635)"
EPOCHS = 108
# What the API of the benchmark calls a metric of one training, and ours.
METRICS = {"validation_accuracy": "valid_accuracy", "test_accuracy": "test_accuracy"}
TRAIN = "train_accuracy"


def import_nasbench101(source: str, options: ImportOptions) -> list[ImportedTable]:
    """Read records of cells, one a line or as a JSON list or object of records.

    A record has ``module_adjacency`` and ``module_operations`` and, as the benchmark's own API
    gives them, either the metrics of one training (``validation_accuracy``, ``test_accuracy``,
    ``train_accuracy``, ``training_time``, as of ``query``, with ``epochs`` if not 108), or of all
    of them under ``computed_metrics`` (for each number of epochs a list of trainings, with
    ``final_`` before the names). Members under ``fixed_metrics`` count as the record's own.
    Several trainings of a cell are numbered as seeds in the order of the file, since the benchmark
    does not say its seeds. Accuracies of fewer than 108 epochs become columns with ``_epochN``.

    Where ``module_hash`` and ``trainable_parameters`` are there, they are compared with those
    of the cells read: the cells are those of the benchmark, then.

    Parameters
    ----------
    source
        Path of the file.
    options
        Of them, `units`: fractions, as published, come out in percent; a value above 1 is refused.

    Raises
    ------
    InputError
        When the file is not of this form, or a hash or number of parameters is not that of its
        cell.
    """
    del options
    space = get_space("nasbench101")
    rows: list[dict[str, Any]] = []
    texts: list[str] = []
    noted: list[tuple[Any, Any]] = []
    for number, record in enumerate(_records(source), start=1):
        where = f"{source}, record {number}"
        fixed = record.get("fixed_metrics", {})
        if not isinstance(fixed, dict):
            raise InputError(f"{where}: expected an object as fixed_metrics, found {fixed!r:.60}")
        flat = {**record, **fixed}
        texts.append(_text(flat, where))
        noted.append((flat.get("module_hash"), flat.get("trainable_parameters")))
        # What a record with one training was trained for: others of its cell may be of it too.
        budget = 0 if "computed_metrics" in flat else flat.get("epochs", EPOCHS)
        of_record = {"record": number - 1, "budget": budget}
        rows += [{**of_record, **row} for row in _trainings(flat, where)]
    archs = parsed(texts, space, source)
    keys = space.keys(archs)
    for number, ((published, _), key) in enumerate(zip(noted, keys, strict=True), start=1):
        if published is not None and published != key:
            raise InputError(
                f"{source}, record {number}: its module hash is {published}, that of the cell "
                f"read is {key}; the matrix or the operations are not in the benchmark's order"
            )
    sizes = pd.to_numeric(pd.Series([size for _, size in noted]), errors="coerce")
    checks = {
        "module_hashes": sum(published is not None for published, _ in noted),
        "parameters": check_parameters(
            space,
            archs,
            sizes,
            input_shape=(3, 32, 32),
            num_classes=10,
            scale={"channels": 128, "cells": 3},
            source=source,
        ),
    }
    spelt = space.format_all(archs)
    frame = pd.DataFrame(rows)
    origin = frame.pop("record").to_numpy()
    frame.insert(0, "arch", [spelt[row] for row in origin])
    if sizes.notna().any():
        frame["params"] = sizes.to_numpy()[origin]
    # Isomorphic records are further trainings of one cell, and those of fewer epochs a part of
    # one: the first of every number of epochs go together, as in a record that holds all.
    cells = pd.Series([keys[row] for row in origin])
    frame.insert(1, "seed", frame.groupby([cells, frame.pop("budget")]).cumcount())
    frame = frame.groupby([cells, frame["seed"].rename("training")], sort=False).first()
    frame = frame.reset_index(drop=True)
    check_units(frame, "percent", source=source)
    table = as_imported(frame, space, "cifar10", source=SOURCE, licence="Apache-2.0", checks=checks)
    return [table]


def _records(source: str) -> Iterator[Mapping[str, Any]]:
    """Yield the records of a file of JSON, or of lines of JSON."""
    try:
        text = Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{source} is not JSON in UTF-8") from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = [_line(line, n, source) for n, line in enumerate(text.splitlines(), 1) if line]
    if isinstance(content, dict) and "module_adjacency" not in content:
        records = list(content.values()) if "fixed_metrics" not in content else [content]
    else:
        records = content if isinstance(content, list) else [content]
    if not records:
        raise InputError(f"{source} holds no record")
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise InputError(
                f"{source}, record {number}: expected an object with module_adjacency and "
                f"module_operations, found {json.dumps(record)[:60]}"
            )
        yield record


def _line(line: str, number: int, source: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{source}, line {number}: not complete JSON, perhaps cut off while it was copied: "
            f"{reason}"
        ) from None


def _text(record: Mapping[str, Any], where: str) -> str:
    missing = [n for n in ("module_adjacency", "module_operations") if n not in record]
    if missing:
        raise InputError(f"{where}: has no {missing[0]}; its members are: {', '.join(record)}")
    cell = {"matrix": record["module_adjacency"], "ops": record["module_operations"]}
    return json.dumps(cell, separators=(",", ":"))


def _trainings(record: Mapping[str, Any], where: str) -> list[dict[str, float]]:
    """Return the columns of every training of a record."""
    if "computed_metrics" not in record:
        return [_training(record, "", record.get("epochs", EPOCHS), where)]
    computed = record["computed_metrics"]
    if not isinstance(computed, dict) or not all(
        isinstance(runs, list) and epochs.isdecimal() for epochs, runs in computed.items()
    ):
        raise InputError(f"{where}: expected as computed_metrics {{epochs: [trainings]}}")
    repeats = max((len(runs) for runs in computed.values()), default=0)
    rows: list[dict[str, float]] = [{} for _ in range(repeats)]
    for epochs, runs in computed.items():
        for row, run in zip(rows, runs, strict=False):
            row |= _training(run, "final_", int(epochs), where)
    if not rows:
        raise InputError(f"{where}: holds no training")
    return rows


def _training(run: Any, prefix: str, epochs: int, where: str) -> dict[str, float]:
    if not isinstance(run, dict):
        raise InputError(f"{where}: expected the metrics of a training, found {str(run)[:60]}")
    suffix = "" if epochs == EPOCHS else f"_epoch{epochs}"
    row = {}
    for theirs, ours in {**METRICS, TRAIN: TRAIN}.items():
        if prefix + theirs in run:
            value = run[prefix + theirs]
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(
                    f"{where}: expected {prefix}{theirs} as a fraction from 0 to 1, found {value!r}"
                )
            row[ours + suffix] = 100.0 * value
    if f"valid_accuracy{suffix}" not in row:
        raise InputError(
            f"{where}: has no {prefix}validation_accuracy; its members are: {', '.join(run)}"
        )
    seconds = run.get(f"{prefix}training_time")
    if isinstance(seconds, int | float):
        row["seconds" + suffix] = float(seconds)
    return row
