"""Tables of architectures with labels and scores."""

from predictnas.tables.files import read_metadata, read_table, table_suffix, write_table
from predictnas.tables.labels import LabelTable, label_table

__all__ = [
    "LabelTable",
    "label_table",
    "read_metadata",
    "read_table",
    "table_suffix",
    "write_table",
]
