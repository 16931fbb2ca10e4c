"""Tables of architectures with labels and scores."""

from predictnas.tables.curve_inputs import curve_inputs, is_curve_input, with_epoch_columns
from predictnas.tables.files import read_metadata, read_table, table_suffix, write_table
from predictnas.tables.labels import LabelTable, label_table
from predictnas.tables.objective import TableObjective
from predictnas.tables.replicates import Replicates
from predictnas.tables.shipped import SHIPPED_TABLES, shipped_table
from predictnas.tables.table_file import TableFile
from predictnas.tables.table_space import TableSpace
from predictnas.tables.units import check_units, in_percent

__all__ = [
    "SHIPPED_TABLES",
    "LabelTable",
    "Replicates",
    "TableFile",
    "TableObjective",
    "TableSpace",
    "check_units",
    "curve_inputs",
    "in_percent",
    "is_curve_input",
    "label_table",
    "read_metadata",
    "read_table",
    "shipped_table",
    "table_suffix",
    "with_epoch_columns",
    "write_table",
]
