from xml.etree import ElementTree

from encoders import ArchGraph
from predictnas.reports import draw_graph, draw_thumbnail, operation_colours

SVG = "{http://www.w3.org/2000/svg}"
GRAPH = ArchGraph(
    ("input", "conv<3>", "skip_connect", "none", "pool", "output"),
    ((0, 1), (0, 1), (1, 2), (2, 5), (3, 5), (0, 3), (0, 4)),
)


def texts(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_operations_are_written_and_zeros_are_not():
    assert texts(draw_graph(GRAPH)) == [
        "×2",
        "input",
        "conv<3>",
        "skip_connect",
        "pool",
        "output",
    ]


def test_edges_are_arrows_and_dead_ones_dashed():
    root = ElementTree.fromstring(draw_graph(GRAPH, name="cell"))
    edges = root.findall(f"{SVG}path")
    assert len(edges) == 4
    assert {path.get("marker-end") for path in edges} == {"url(#cell-arrow)"}
    assert [path.get("stroke-dasharray") for path in edges].count("4 4") == 1  # to the pool
    assert root.find(f".//{SVG}marker").get("id") == "cell-arrow"


def test_everything_lies_inside_the_frame():
    root = ElementTree.fromstring(draw_graph(GRAPH))
    width, height = (float(root.get(name)) for name in ("width", "height"))
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    for box in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(box.get(name)) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height


def test_a_screen_reader_hears_the_operations():
    root = ElementTree.fromstring(draw_graph(GRAPH))
    assert root.get("aria-label") == (
        "graph of 5 nodes (input, conv<3>, skip_connect, pool, output) and 5 edges, "
        "1 without influence"
    )
    assert ElementTree.fromstring(draw_graph(GRAPH, label="a & b")).get("aria-label") == "a & b"


def test_colours_depend_on_the_space_and_not_on_the_graph():
    operations = ("none", "skip_connect", "a", "b")
    colours = operation_colours(operations)
    assert "none" not in colours
    assert colours["a"] != colours["b"]
    for name in ("a", "b"):
        graph = ArchGraph(("input", name, "output"), ((0, 1), (1, 2)))
        dots = ElementTree.fromstring(draw_thumbnail(graph, operations=operations)).iter(
            f"{SVG}circle"
        )
        assert [dot.get("fill") for dot in dots][1] == colours[name]


def test_thumbnails_have_one_dot_a_node():
    dots = list(ElementTree.fromstring(draw_thumbnail(GRAPH)).iter(f"{SVG}circle"))
    assert [dot.findtext(f"{SVG}title") for dot in dots] == [
        "input",
        "conv<3>",
        "skip_connect",
        "pool",
        "output",
    ]
