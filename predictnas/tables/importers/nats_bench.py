"""NATS-Bench, through the package of its authors."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
from predictnas.tables.importers.parameters import check_parameters
from predictnas.tables.units import check_units

__all__ = [
    "NatsBenchApi",
    "NatsBenchResults",
    "NatsBenchRun",
    "import_nats_bench",
    "read_nats_bench",
]

SOURCE = "NATS-Bench (Dong et al. 2021, arXiv:2009.00437)"

# For each of our spaces the name of the package's, the epochs of its full training, and the scale
# of the published networks.
SPACES: dict[str, tuple[str, str, dict[str, int]]] = {
    "nasbench201": ("tss", "200", {"channels": 16, "cells": 5}),
    "nats-size": ("sss", "90", {"cells": 1, "divisor": 1}),
}
# Data sets with a validation split, and their classes.
CLASSES = {"cifar10-valid": 10, "cifar100": 100, "ImageNet16-120": 120}
# What the package calls a metric, and ours.
METRICS = {
    "valid-accuracy": "valid_accuracy",
    "test-accuracy": "test_accuracy",
    "train-accuracy": "train_accuracy",
    "train-all-time": "seconds",
}
# What the package and its unpickling raise of missing, damaged and other files.
DAMAGE = (
    *(AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError),
    *(TypeError, ValueError, pickle.UnpicklingError),
)


class NatsBenchRun(Protocol):
    """The part of the package's results of one training that is used.

    Attributes
    ----------
    epochs
        How many the training had.
    train_acc1es
        The training accuracy by epoch, from 0 on.
    eval_acc1es
        Other accuracies by name and epoch, as ``"x-valid@0"``; not every epoch has been evaluated.
    """

    epochs: int
    train_acc1es: Mapping[int, float]
    eval_acc1es: Mapping[str, float]


class NatsBenchResults(Protocol):
    """The part of the package's results of an architecture that is used."""

    def get_dataset_names(self) -> list[str]:
        """Return the data sets that it was trained on."""

    def get_dataset_seeds(self, dataset: str) -> list[int]:
        """Return the seeds of its trainings on one of them."""

    def get_compute_costs(self, dataset: str) -> dict[str, Any]:
        """Return ``params`` in millions and ``flops``."""

    def query(self, dataset: str, seed: int) -> NatsBenchRun:
        """Return the training with a seed."""


class NatsBenchApi(Protocol):
    """The part of the package's API object that is used."""

    def __len__(self) -> int: ...

    def arch(self, index: int) -> str:
        """Return the architecture of an index in native text."""

    def query_meta_info_by_index(self, arch_index: int, hp: str) -> NatsBenchResults:
        """Return a copy of the results of an architecture, which is read first in fast mode."""

    def get_more_info(
        self, index: int, dataset: str, *, iepoch: int | None, hp: str, is_random: int
    ) -> dict[str, Any]:
        """Return the metrics of the training with a seed."""


def import_nats_bench(source: str, options: ImportOptions) -> list[ImportedTable]:
    """Read a NATS-Bench archive through the package ``nats_bench``, every seed of it.

    Accuracies of training and of validation are ``curve_train_accuracy`` and
    ``curve_valid_accuracy`` where every epoch of a training has been evaluated. Data sets that the
    archive lacks are noted as ``missing`` in the metadata of the others.

    The package unpickles the archive: give it only files that you trust.

    Parameters
    ----------
    source
        Path of the archive: a file, or the folder of the fast mode.
    options
        The space, ``nasbench201`` (topology) or ``nats-size``, and the data set.

    Raises
    ------
    InputError
        When the package is not installed, no such space is named, the archive cannot be read or
        lacks the data set, or its labels belie its cells.

    References
    ----------
    X. Dong, L. Liu, K. Musial, B. Gabrys. NATS-Bench: Benchmarking NAS algorithms for architecture
    topology and size. IEEE TPAMI 2021 (arXiv:2009.00437).
    """
    if options.space not in SPACES:
        raise unknown_name("space of NATS-Bench", str(options.space), SPACES)
    try:
        import nats_bench
    except ImportError:
        raise InputError(
            "reading NATS-Bench needs the package nats_bench: pip install 'predictnas[nats-bench]'"
        ) from None
    path = Path(source)
    if not path.exists():
        raise InputError(f"cannot read {source}: No such file or directory")
    kind = SPACES[options.space][0]
    try:
        api = nats_bench.create(str(path), kind, fast_mode=path.is_dir(), verbose=False)
    except DAMAGE as error:
        raise InputError(
            f"{source} is no NATS-Bench archive ({kind}): {_reason(error)}; give the file, or the "
            "folder of the fast mode, as published"
        ) from None
    return read_nats_bench(api, get_space(options.space), options, source)


def read_nats_bench(
    api: NatsBenchApi, space: Space, options: ImportOptions, source: str
) -> list[ImportedTable]:
    """Read what the API object of the package holds.

    Parameters
    ----------
    api
        As ``nats_bench.create`` returns it.
    space
        The space of its architectures.
    options
        Of them, `dataset`.
    source
        The archive, for messages.

    Raises
    ------
    InputError
        As `import_nats_bench`.
    """
    _, hp, scale = SPACES[space.name]
    texts = [str(api.arch(index)) for index in range(len(api))]
    archs = parsed(texts, space, source)
    wanted = chosen(list(CLASSES), options, source)
    rows: dict[str, list[dict[str, Any]]] = {dataset: [] for dataset in wanted}
    sizes = {dataset: np.full(len(texts), np.nan) for dataset in wanted}
    for index, text in enumerate(texts):
        try:
            # A copy of all trainings: made once an architecture.
            results = api.query_meta_info_by_index(index, hp)
            for dataset in set(wanted).intersection(results.get_dataset_names()):
                sizes[dataset][index] = results.get_compute_costs(dataset)["params"] * 1e6
                rows[dataset] += [
                    {"arch": text, **training, "params": sizes[dataset][index]}
                    for training in _trainings(api, index, results, dataset, hp)
                ]
        except DAMAGE as error:
            raise InputError(
                f"{source}: cannot read the trainings of {hp} epochs of architecture {index} "
                f"({text}): {_reason(error)}; fetch the archive again, all of it"
            ) from None
    found = [dataset for dataset in wanted if rows[dataset]]
    if not found:
        raise InputError(
            f"{source} holds no training on {' or '.join(wanted)}; give the whole archive, or "
            "another data set with --dataset"
        )
    missing = [dataset for dataset in wanted if dataset not in found]
    tables = []
    for dataset in found:
        where = f"{source}, {dataset}"
        frame = pd.DataFrame(rows.pop(dataset))
        check_units(frame, "percent", source=where)
        checks: dict[str, Any] = {}
        if space.name == "nasbench201":
            labelled = frame.groupby("arch", sort=False)["valid_accuracy"].mean()
            cells = space.parse_all(labelled.index)
            chance = 100 / CLASSES[dataset]
            checks = check_cells(space, cells, labelled, chance=chance, source=where)
        checks["parameters"] = check_parameters(
            space,
            archs,
            sizes[dataset],
            input_shape=(3, 32, 32),
            num_classes=CLASSES[dataset],
            scale=scale,
            source=where,
        )
        more = {"epochs": hp, "missing": missing}
        tables.append(
            as_imported(frame, space, dataset, source=SOURCE, licence="MIT", checks=checks, **more)
        )
    return tables


def _trainings(
    api: NatsBenchApi, index: int, results: NatsBenchResults, dataset: str, hp: str
) -> Iterator[dict[str, Any]]:
    """Yield the columns of every training of an architecture on a data set."""
    for seed in results.get_dataset_seeds(dataset):
        found = api.get_more_info(index, dataset, iepoch=None, hp=hp, is_random=int(seed))
        metrics = {o: found[t] for t, o in METRICS.items() if found.get(t) is not None}
        yield {"seed": int(seed), **metrics, **_curves(results.query(dataset, seed))}


def _curves(run: NatsBenchRun) -> dict[str, NDArray[np.float64]]:
    """Return the curves that have a value for every epoch.

    They are read from where the package keeps them: its ``get_more_info`` adds up the times of all
    seeds and epochs before, for every epoch. The accuracy on all images that are not trained on,
    which it has in every epoch of some data sets, is none of validation: half of them are for
    testing.
    """
    epochs = range(run.epochs)
    curves = {
        "curve_valid_accuracy": [run.eval_acc1es.get(f"x-valid@{epoch}") for epoch in epochs],
        "curve_train_accuracy": [run.train_acc1es.get(epoch) for epoch in epochs],
    }
    return {
        name: np.array(curve, dtype=np.float64)
        for name, curve in curves.items()
        if curve and None not in curve
    }


def _reason(error: BaseException) -> str:
    """Return in one line what was raised; a bare KeyError or EOFError would say next to nothing."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
