"""Tables that come with the package and are called by name."""

from importlib import resources
from pathlib import Path

from predictnas.errors import InputError, unknown_name

__all__ = ["SHIPPED_TABLES", "shipped_table"]

FOLDER = "predictnas.tables"

# For every name the file in the folder `data` beside this module.
SHIPPED_TABLES: dict[str, str] = {"digits201": "digits201.parquet"}


def shipped_table(name: str) -> Path:
    """Return the file of a table that comes with the package.

    Raises
    ------
    InputError
        When there is none of that name, or its file was not installed.
    """
    if name not in SHIPPED_TABLES:
        raise unknown_name("table", name, SHIPPED_TABLES)
    path = Path(str(resources.files(FOLDER).joinpath("data", SHIPPED_TABLES[name])))
    if not path.is_file():
        raise InputError(f"the table {name!r} is missing from the installation; install it anew")
    return path
