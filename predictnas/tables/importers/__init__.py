"""Importers: published benchmarks and other people's tables as label tables."""

from collections.abc import Callable

from predictnas.tables.importers.columns import import_columns
from predictnas.tables.importers.imported import ImportedTable, ImportOptions
from predictnas.tables.importers.nasbench101 import import_nasbench101
from predictnas.tables.importers.nats_bench import import_nats_bench
from predictnas.tables.importers.suite_zero import import_suite_zero

__all__ = ["IMPORTERS", "ImportOptions", "ImportedTable", "Importer"]

Importer = Callable[[str, ImportOptions], list[ImportedTable]]

IMPORTERS: dict[str, Importer] = {
    "nas-bench-suite-zero": import_suite_zero,
    "nats-bench": import_nats_bench,
    "nasbench101": import_nasbench101,
    "csv": import_columns,
    "parquet": import_columns,
}
