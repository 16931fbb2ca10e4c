"""``python -m predictnas``: the command line."""

from predictnas.cli import main

main()
