"""NAS-Bench-Suite-Zero: the JSON files ``zc_*.json`` of NASLib."""

import ast
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictnas.errors import InputError, unknown_name
from predictnas.spaces import Space, get_space
from predictnas.tables.importers.imported import (
    ImportedTable,
    ImportOptions,
    as_imported,
    chosen,
    parsed,
)
from predictnas.tables.importers.invariants import check_cells
from predictnas.tables.importers.parameters import check_parameter_order, check_parameters
from predictnas.tables.labels import PROXY_PREFIX
from predictnas.tables.units import check_units

__all__ = ["import_suite_zero"]

SOURCE = "NAS-Bench-Suite-Zero (Krishnakumar et al. 2022, arXiv:2210.03230), NASLib"
LABEL = "val_accuracy"

# The edges of a cell in the order of the tuples, and the operations in the order of their codes.
EDGES = ("0->1", "0->2", "0->3", "1->2", "1->3", "2->3")
NASBENCH201 = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
TRANSNAS101 = ("skip_connect", "none", "conv_3x3", "conv_1x1")
NASBENCH101 = ("input", "output", "maxpool3x3", "conv1x1-bn-relu", "conv3x3-bn-relu")
DARTS = (
    *("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5"),
    *("dil_conv_3x3", "dil_conv_5x5"),
)

CLASSES = {"cifar10": 10, "cifar100": 100, "ImageNet16-120": 120}
# What is measured under the name of an accuracy where the task is none of classification.
OTHER_LABELS = {
    "autoencoder": "valid_ssim",
    "normal": "valid_ssim",
    "room_layout": "valid_negative_loss",
}


def import_suite_zero(source: str, options: ImportOptions) -> list[ImportedTable]:
    """Read a file {space: {data set: {architecture: {proxy: value, val_accuracy}}}}.

    Files without the level of spaces are read where `options` names the space. Every proxy is a
    column ``proxy_NAME`` under its published name, and the validation accuracy is
    ``valid_accuracy``, in percent. In ``nasbench201`` the cells and their numbers of parameters
    are checked against the space, in ``transnas101-micro`` the cells and the order of these
    numbers, and in the other spaces this order.

    Parameters
    ----------
    source
        Path of the JSON file.
    options
        Of them, `space` and `dataset`.

    Raises
    ------
    InputError
        When the file is not of this form, or its labels belie the reading of the architectures.

    References
    ----------
    A. Krishnakumar, C. White, A. Zela, R. Tu, M. Safari, F. Hutter. NAS-Bench-Suite-Zero:
    Accelerating research on zero cost proxies. NeurIPS 2022 (arXiv:2210.03230).
    """
    name, datasets = _of_one_space(_read(source), options, source)
    tables = []
    for dataset in chosen(list(datasets), options, source):
        where = f"{source}, {dataset}"
        space, decode = get_space(_SPACES[name][0]), _SPACES[name][1]
        frame, archs = _frame(datasets[dataset], dataset, space, decode, where)
        checks: dict[str, Any] = {}
        label = frame.columns[1]
        check_units(frame, "percent", source=where)
        classes = CLASSES.get(dataset) if name == "nasbench201" else None
        if name in ("nasbench201", "transbench101_micro"):
            chance = None if classes is None else 100 / classes
            checks = check_cells(space, archs, frame[label], chance=chance, source=where)
        if classes is not None and "proxy_params" in frame:
            checks["parameters"] = check_parameters(
                space,
                archs,
                frame["proxy_params"] * 1e6,
                input_shape=(3, 32, 32),
                num_classes=classes,
                scale={"channels": 16, "cells": 5},
                source=where,
            )
        elif "proxy_params" in frame:
            # Of the other spaces NASLib's networks are not all of the published scale.
            checks["parameter_order"] = check_parameter_order(
                space, archs, frame["proxy_params"], source=where
            )
        tables.append(
            as_imported(frame, space, dataset, source=SOURCE, licence="Apache-2.0", checks=checks)
        )
    return tables


def _read(source: str) -> Any:
    try:
        return json.loads(Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{source} is not a complete JSON file, perhaps cut off while it was copied: {reason}"
        ) from None


def _of_one_space(
    content: Any, options: ImportOptions, source: str
) -> tuple[str, Mapping[str, Any]]:
    """Return the name that the source gives to a space, and its data sets."""
    named = {ours: theirs for theirs, (ours, _) in _SPACES.items()}
    if options.space is not None and options.space not in named:
        raise unknown_name("space of NAS-Bench-Suite-Zero", options.space, named)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{source}: expected JSON of the form {{space: {{data set: …}}}}")
    there = [theirs for theirs in content if theirs in _SPACES]
    if options.space is not None:
        name = named[options.space]
        if there and name not in there:
            raise InputError(
                f"{source} holds no cells of {options.space}; it holds: {', '.join(there)}"
            )
        datasets = content[name] if there else content
    elif len(there) == 1:
        (name,) = there
        datasets = content[name]
    else:
        raise InputError(
            f"{source}: expected one space at its top, found {', '.join(list(content)[:8])}; "
            f"name the space with --space: {', '.join(named)}"
        )
    if not isinstance(datasets, dict) or not all(
        isinstance(cells, dict) and cells for cells in datasets.values()
    ):
        raise InputError(f"{source}: expected {{data set: {{architecture: {{proxy: value}}}}}}")
    return name, datasets


def _frame(
    cells: Mapping[str, Any],
    dataset: str,
    space: Space,
    decode: Callable[[Any], str],
    source: str,
) -> tuple[pd.DataFrame, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the table of a data set and its architectures."""
    rows, texts = [], []
    for number, (written, values) in enumerate(cells.items(), start=1):
        try:
            texts.append(decode(ast.literal_eval(written)))
        except (ValueError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError):
            raise InputError(
                f"{source}, entry {number}: {written[:60]!r} is no architecture of {space.name} "
                "as NAS-Bench-Suite-Zero writes them"
            ) from None
        if not isinstance(values, dict) or LABEL not in values:
            raise InputError(f"{source}, entry {number}: {written[:60]!r} has no {LABEL!r}")
        rows.append({name: _number(value, name, number, source) for name, value in values.items()})
    archs = parsed(texts, space, source)
    table = pd.DataFrame(rows)
    frame = pd.DataFrame({"arch": texts})
    frame[OTHER_LABELS.get(dataset, "valid_accuracy")] = table.pop(LABEL)
    for name in table:
        frame[f"{PROXY_PREFIX}{name}"] = table[name]
    return frame, archs


def _number(value: Any, name: str, number: int, source: str) -> float:
    # Some versions give {"score": value, "time": seconds}.
    found = value.get("score") if isinstance(value, dict) else value
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InputError(f"{source}, entry {number}: expected a number as {name}, found {found!r}")
    if name == LABEL and not math.isfinite(found):
        raise InputError(f"{source}, entry {number}: expected a finite {name}, found {found}")
    return float(found)


def _nasbench201(codes: Any) -> str:
    operations = dict(zip(EDGES, (NASBENCH201[code] for code in _codes(codes, 6)), strict=True))
    space = get_space("nasbench201")
    return space.format(space.from_params({name: operations[name] for name in space.choices}))


def _transnas101_micro(codes: Any) -> str:
    operations = dict(zip(EDGES, (TRANSNAS101[code] for code in _codes(codes, 6)), strict=True))
    space = get_space("transnas101-micro")
    return space.format(space.from_params({name: operations[name] for name in space.choices}))


def _transnas101_macro(codes: Any) -> str:
    return f"64-{''.join(str(code) for code in codes if code)}-basic"


def _nasbench101(codes: Any) -> str:
    vertices = math.isqrt(len(codes))  # n² entries of the matrix and n operations
    numbers = _codes(codes, vertices * (vertices + 1))
    matrix = np.array(numbers[:-vertices]).reshape(vertices, vertices).tolist()
    names = [NASBENCH101[code] for code in numbers[-vertices:]]
    return json.dumps({"matrix": matrix, "ops": names}, separators=(",", ":"))


def _darts(cells: Any) -> str:
    normal, reduce = (
        [(DARTS[code], int(node)) for node, code in (_codes(edge, 2) for edge in cell)]
        for cell in cells
    )
    ends = [2, 3, 4, 5]
    return f"Genotype(normal={normal}, normal_concat={ends}, reduce={reduce}, reduce_concat={ends})"


def _codes(codes: Any, length: int) -> tuple[int, ...]:
    if len(codes) != length or not all(type(code) is int and code >= 0 for code in codes):
        raise ValueError(codes)
    return tuple(codes)


# For every name that the source gives to a space ours, and how its architectures are written.
_SPACES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "nasbench201": ("nasbench201", _nasbench201),
    "nasbench101": ("nasbench101", _nasbench101),
    "nasbench301": ("darts", _darts),
    "transbench101_micro": ("transnas101-micro", _transnas101_micro),
    "transbench101_macro": ("transnas101-macro", _transnas101_macro),
}
