"""The architectures that the studies of proxies score, and their labels."""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from predictnas.spaces import Archs, get_space
from predictnas.tables import label_table, read_table

__all__ = ["CHOSEN_ON", "Benchmark", "benchmark", "drawn", "drawn_cells"]

# The default aggregate was chosen on so many of the first architectures drawn, the same for every
# target of a space; it is measured on all and on the others alone.
CHOSEN_ON = {"nasbench201": 200, "others": 100}


class Benchmark(NamedTuple):
    """At most `limit` architectures of a table."""

    space: str
    table: Path
    target: str
    limit: int

    @property
    def option(self) -> str:
        """How a command line gives it, with its table by file name."""
        return f"--other {self.space}={self.table.name}:{self.target}:{self.limit}"

    @property
    def file_name(self) -> str:
        """The file of its scores."""
        return f"{self.space}-{self.table.stem}-{self.target}.parquet"


def benchmark(given: str) -> Benchmark:
    """Read ``SPACE=TABLE:TARGET[:N]``."""
    found = re.fullmatch(r"([^=]+)=(.+?):([^:/\\]+?)(?::(\d+))?", given)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected SPACE=TABLE:TARGET[:N], found {given!r}")
    space, table, target, count = found.groups()
    return Benchmark(space, Path(table), target, int(count or 500))


def drawn(chosen: Benchmark) -> tuple[list[str], NDArray[np.float64]]:
    """Return random architectures of a benchmark's table, no two isomorphic, and their target."""
    space = get_space(chosen.space)
    labels = label_table(read_table(chosen.table), space, chosen.target)
    order = np.random.default_rng(0).permutation(len(labels))
    _, first = np.unique(np.array(labels.keys)[order], return_index=True)
    rows = order[np.sort(first)][: chosen.limit]
    return space.format_all(labels.archs[rows]), labels.targets[rows]


def drawn_cells(path: Path, target: str, count: int) -> tuple[Archs, pd.DataFrame]:
    """Return random cells of NAS-Bench-201, no two isomorphic, and a table's rows of them."""
    space = get_space("nasbench201")
    cells = space.sample(count, np.random.default_rng(0), distinct=True)
    table = read_table(path).set_index("arch").reindex(space.format_all(cells))
    missing = int(table[target].isna().sum())
    if missing:
        raise SystemExit(
            f"{path}: {missing} of {len(cells)} sampled cells have no {target}; "
            "give a table of all of NAS-Bench-201"
        )
    return cells, table
