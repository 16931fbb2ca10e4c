"""Architectures drawn: nodes with their operations, arrows between them, as SVG."""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from encoders import IDENTITY, INPUT, OUTPUT, ZERO, ArchGraph
from predictnas.reports.graph_layout import Layout, Point, Route, layout
from predictnas.reports.palette import FONT_FAMILY, HUES, INK, MUTED, PAPER

__all__ = ["draw_graph", "draw_thumbnail", "operation_colours"]

_SKIP = "#9aa5b1"
_EDGE = "#5c6875"

# In pixels. Letters of a proportional font are narrower than this on average.
_LETTER = 7.0
_BOX_HEIGHT = 32.0
_ROW = 54.0
_LAYER_GAP = 58.0
_MARGIN = 10.0


def operation_colours(operations: Sequence[str]) -> dict[str, str]:
    """Return a colour for every operation of a space, the same in every drawing of it.

    Parameters
    ----------
    operations
        All operation names of the space, in its order; identities are grey, zeros are not drawn.
    """
    working = [name for name in operations if name not in (ZERO, IDENTITY, INPUT, OUTPUT)]
    colours = {name: HUES[index % len(HUES)] for index, name in enumerate(working)}
    return {**colours, IDENTITY: _SKIP, INPUT: INK, OUTPUT: INK}


def draw_graph(
    graph: ArchGraph, *, operations: Sequence[str] = (), name: str = "graph", label: str = ""
) -> str:
    """Draw a graph from left to right as an SVG element that goes into an HTML page as it is.

    Zeros are left out; identities stay. What lies on no path from input to output, and so has no
    influence, is dashed.

    Parameters
    ----------
    graph
        The graph.
    operations
        All operation names of its space, which fixes the colours; by default the graph's own.
    name
        Unique among the drawings of a page.
    label
        What a screen reader says; by default the operations and the number of edges.

    Returns
    -------
    str
        An ``<svg>`` element, sized in pixels.
    """
    place = layout(graph)
    colours = operation_colours(operations or sorted(set(graph.operations)))
    longest = max(len(graph.operations[node]) for node in place.positions)
    box = max(64.0, _LETTER * longest + 22)
    step = box + _LAYER_GAP
    width = place.width * step + box + 2 * _MARGIN
    height = place.height * _ROW + _BOX_HEIGHT + 2 * _MARGIN
    svg = _svg(width, height, label or _description(graph, place))
    svg.set("class", "graph")
    _arrowhead(svg, name)

    def centre(point: Point) -> Point:
        return (
            _MARGIN + box / 2 + point[0] * step,
            _MARGIN + _BOX_HEIGHT / 2 + point[1] * _ROW,
        )

    for route in place.routes:
        points = [centre(point) for point in route.points]
        points[0] = (points[0][0] + box / 2, points[0][1])
        points[-1] = (points[-1][0] - box / 2 - 2, points[-1][1])
        line = _edge(svg, points, _is_dead(route, place), flat=box / 2)
        line.set("marker-end", f"url(#{name}-arrow)")
        if route.count > 1:
            _count(svg, points, route.count)
    for node, point in place.positions.items():
        _box(svg, centre(point), box, graph.operations[node], colours, dead=node in place.dead)
    return tostring(svg, encoding="unicode")


def draw_thumbnail(graph: ArchGraph, *, operations: Sequence[str] = (), label: str = "") -> str:
    """Draw a graph small, operations as coloured dots, as an SVG element.

    Parameters
    ----------
    graph, operations, label
        As for :func:`draw_graph`.
    """
    place = layout(graph)
    colours = operation_colours(operations or sorted(set(graph.operations)))
    radius, step, row = 5.0, 26.0, 14.0
    svg = _svg(
        place.width * step + 2 * radius + 4,
        place.height * row + 2 * radius + 4,
        label or _description(graph, place),
    )
    svg.set("class", "thumbnail")

    def centre(point: Point) -> Point:
        return radius + 2 + point[0] * step, radius + 2 + point[1] * row

    for route in place.routes:
        _edge(svg, [centre(point) for point in route.points], _is_dead(route, place), flat=4.0)
    for node, point in place.positions.items():
        x, y = centre(point)
        operation = graph.operations[node]
        dot = SubElement(svg, "circle", cx=_px(x), cy=_px(y), r=_px(radius))
        colour = colours.get(operation, MUTED)
        if node in place.dead or operation == IDENTITY:
            dot.set("fill", PAPER)
            dot.set("stroke", colour)
            dot.set("stroke-width", "1.5")
            if node in place.dead:
                dot.set("stroke-dasharray", "2 2")
        elif operation in (INPUT, OUTPUT):
            dot.set("r", _px(radius - 2))
            dot.set("fill", colour)
        else:
            dot.set("fill", colour)
        SubElement(dot, "title").text = operation
    return tostring(svg, encoding="unicode")


def _svg(width: float, height: float, label: str) -> Element:
    return Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {_px(width)} {_px(height)}",
            "width": _px(width),
            "height": _px(height),
            "role": "img",
            "aria-label": label,
            "font-family": FONT_FAMILY,
        },
    )


def _description(graph: ArchGraph, place: Layout) -> str:
    names = [graph.operations[node] for node in sorted(place.positions)]
    count = sum(route.count for route in place.routes)
    dead = f", {len(place.dead)} without influence" if place.dead else ""
    return f"graph of {len(names)} nodes ({', '.join(names)}) and {count} edges{dead}"


def _arrowhead(svg: Element, name: str) -> None:
    marker = SubElement(
        SubElement(svg, "defs"),
        "marker",
        id=f"{name}-arrow",
        viewBox="0 0 8 8",
        refX="6.5",
        refY="4",
        markerWidth="8",
        markerHeight="8",
        markerUnits="userSpaceOnUse",
        orient="auto",
    )
    SubElement(marker, "path", d="M0.5 0.8 7.5 4 0.5 7.2z", fill=_EDGE)


def _edge(svg: Element, points: Sequence[Point], dead: bool, *, flat: float) -> Element:
    """Draw a smooth curve from left to right, level for `flat` pixels around passed points."""
    x, y = points[0]
    path = [f"M{_px(x)} {_px(y)}"]
    for index, (to_x, to_y) in enumerate(points[1:], start=2):
        last = index == len(points)
        end = to_x if last else to_x - flat
        middle = (x + end) / 2
        path.append(f"C{_px(middle)} {_px(y)} {_px(middle)} {_px(to_y)} {_px(end)} {_px(to_y)}")
        x, y = (to_x if last else to_x + flat), to_y
        if not last:
            path.append(f"H{_px(x)}")
    line = SubElement(svg, "path", {"d": "".join(path), "fill": "none", "stroke": _EDGE})
    line.set("stroke-width", "1.5")
    if dead:
        line.set("stroke-dasharray", "4 4")
        line.set("opacity", "0.55")
    return line


def _count(svg: Element, points: Sequence[Point], count: int) -> None:
    (x0, y0), (x1, y1) = points[len(points) // 2 - 1 : len(points) // 2 + 1]
    text = _text(svg, ((x0 + x1) / 2, (y0 + y1) / 2 - 8), f"×{count}", MUTED)
    text.set("font-size", "11")


def _box(
    svg: Element,
    centre: Point,
    width: float,
    operation: str,
    colours: Mapping[str, str],
    *,
    dead: bool,
) -> None:
    x, y = centre
    colour = colours.get(operation, MUTED)
    group = SubElement(svg, "g")
    rectangle = {
        "x": _px(x - width / 2),
        "y": _px(y - _BOX_HEIGHT / 2),
        "width": _px(width),
        "height": _px(_BOX_HEIGHT),
        "rx": "7",
    }
    end = operation in (INPUT, OUTPUT)
    if end:
        rectangle["rx"] = _px(_BOX_HEIGHT / 2)
    SubElement(group, "rect", {**rectangle, "fill": PAPER})
    face = SubElement(group, "rect", {**rectangle, "fill": colour, "stroke": colour})
    face.set("stroke-width", "1.5")
    if not end:
        face.set("fill-opacity", "0" if operation == IDENTITY else "0.16")
    if dead:
        face.set("stroke-dasharray", "4 4")
        face.set("fill-opacity", "0")
        group.set("opacity", "0.6")
    _text(group, (x, y), operation, PAPER if end else INK)


def _text(parent: Element, centre: Point, content: str, colour: str) -> Element:
    text = SubElement(parent, "text", x=_px(centre[0]), y=_px(centre[1]), fill=colour)
    text.set("font-size", "12.5")
    text.set("text-anchor", "middle")
    text.set("dominant-baseline", "central")
    text.text = content
    return text


def _is_dead(route: Route, place: Layout) -> bool:
    return route.source in place.dead or route.target in place.dead


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
