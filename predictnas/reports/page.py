"""From content to an HTML page."""

from collections.abc import Mapping
from typing import Any

from predictnas.reports.wording import breakable, count, duration, percent, tied

__all__ = ["render_page"]


def render_page(content: Mapping[str, Any]) -> str:
    """Fill the template; whatever is not an SVG of ours is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("predictnas.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, count=count, duration=duration, breakable=breakable, tied=tied
    )
    return environment.get_template("report.html").render(content)
