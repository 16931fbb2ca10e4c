"""NATS-Bench, through the package of its authors."""

from pathlib import Path
from typing import Any, Protocol

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
from predictnas.tables.importers.parameters import check_parameters
from predictnas.tables.units import check_units

__all__ = ["NatsBenchApi", "import_nats_bench", "read_nats_bench"]

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


class NatsBenchApi(Protocol):
    """The part of the package's API object that is used."""

    def __len__(self) -> int: ...

    def arch(self, index: int) -> str:
        """Return the architecture of an index in native text."""

    def query_meta_info_by_index(self, arch_index: int, hp: str) -> Any:
        """Return results of an architecture, which know their ``get_dataset_seeds(dataset)``."""

    def get_more_info(
        self, index: int, dataset: str, *, iepoch: int | None, hp: str, is_random: int
    ) -> dict[str, Any]:
        """Return the metrics of the training with a seed."""

    def get_cost_info(self, index: int, dataset: str, hp: str) -> dict[str, Any]:
        """Return ``params`` in millions and ``flops``."""


def import_nats_bench(source: str, options: ImportOptions) -> list[ImportedTable]:
    """Read a NATS-Bench archive through the package ``nats_bench``, every seed of it.

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
        When the package is not installed, no such space is named, the archive cannot be read, or
        its labels belie its cells.

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
    except (OSError, ValueError, AssertionError, EOFError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{source} is no NATS-Bench archive ({kind}): {reason}") from None
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
    tables = []
    for dataset in chosen(list(CLASSES), options, source):
        where = f"{source}, {dataset}"
        rows: list[dict[str, Any]] = []
        sizes = np.full(len(texts), np.nan)
        for index, text in enumerate(texts):
            results = api.query_meta_info_by_index(index, hp)
            sizes[index] = api.get_cost_info(index, dataset, hp)["params"] * 1e6
            for seed in results.get_dataset_seeds(dataset):
                found = api.get_more_info(index, dataset, iepoch=None, hp=hp, is_random=int(seed))
                metrics = {o: found[t] for t, o in METRICS.items() if found.get(t) is not None}
                rows.append({"arch": text, "seed": int(seed), **metrics, "params": sizes[index]})
        if not rows:
            raise InputError(f"{where}: holds no training")
        frame = pd.DataFrame(rows)
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
            sizes,
            input_shape=(3, 32, 32),
            num_classes=CLASSES[dataset],
            scale=scale,
            source=where,
        )
        tables.append(
            as_imported(
                frame, space, dataset, source=SOURCE, licence="MIT", checks=checks, epochs=hp
            )
        )
    return tables
