"""The report of a study: one self-contained HTML file."""

from predictnas.reports.graph_drawing import draw_graph, draw_thumbnail, operation_colours
from predictnas.reports.report import write_report

__all__ = ["draw_graph", "draw_thumbnail", "operation_colours", "write_report"]
