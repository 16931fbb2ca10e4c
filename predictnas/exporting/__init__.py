"""The winner, retrained and written in forms that run without this project."""

from predictnas.exporting.architecture import Export, export_architecture
from predictnas.exporting.winner import export_winner

__all__ = ["Export", "export_architecture", "export_winner"]
