from xml.etree import ElementTree

import pytest

from predictnas.reports.vector_graphics import figure_svg

SVG = "{http://www.w3.org/2000/svg}"


def dots(axes):
    axes.scatter([1, 2, 3], [1, 4, 9], gid="dots")
    axes.plot([1, 3], [1, 9])
    axes.set_title("a < b")
    return {"dots": ["one", "two & a half", "three"]}


def draw(name="figure", drawing=dots):
    return figure_svg(drawing, name=name, label='said "so"', width=300, height=200)


def test_is_one_element_for_a_page():
    text = draw()
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("aria-label") == 'said "so"'
    assert root.get("viewBox") == "0 0 225 150"  # points; three quarters of a pixel
    assert "width" not in root.attrib
    assert not text.startswith("<?xml")
    assert "DOCTYPE" not in text
    assert "metadata" not in text
    assert "DejaVu" not in text
    assert "a &lt; b" in text


def test_marks_say_what_they_are():
    root = ElementTree.fromstring(draw())
    assert [title.text for title in root.iter(f"{SVG}title")] == ["one", "two & a half", "three"]


def test_a_hint_must_have_its_mark():
    def short(axes):
        dots(axes)
        return {"dots": ["one"]}

    with pytest.raises(ValueError, match="argument 2 is shorter"):
        draw(drawing=short)


def test_two_figures_share_no_id():
    def ids(text):
        return {e.get("id") for e in ElementTree.fromstring(text).iter() if e.get("id")}

    first, second = ids(draw("a")), ids(draw("b"))
    assert first
    assert all(name.startswith("a-") for name in first)
    assert not first & second


def test_drawing_again_gives_the_same():
    assert draw() == draw()
