from xml.etree import ElementTree

import numpy as np
import pytest

from predictnas.benchmarking import Summary
from predictnas.evaluation import mean_interval
from predictnas.reports.label_efficiency_figure import label_efficiency


def summary(predictor, size, taus):
    return Summary(predictor, size, len(taus), {"kendall": mean_interval(np.array(taus))})


@pytest.fixture
def summaries():
    rng = np.random.default_rng(0)
    return [
        summary(name, size, quality + 0.05 * np.log(size) + 0.02 * rng.normal(size=5))
        for name, quality in (("gp", 0.5), ("forest", 0.45), ("a$b_c", 0.451))
        for size in (23, 46, 467)
    ]


def texts(figure):
    root = ElementTree.fromstring(figure.svg)
    return [element.text for element in root.iter() if element.text and element.text.strip()]


def test_every_predictor_and_size_is_named(summaries):
    found = texts(label_efficiency(summaries, None, "some labels"))
    assert {"gp", "forest", "a$b_c", "23", "46", "467"} <= set(found)
    tau = float(summaries[0].measures["kendall"].mean)
    assert f"gp, 23 labels: τ {tau:.3f} (5 training sets)" in found


def test_ceiling_is_drawn_where_it_is_known(summaries):
    with_line = label_efficiency(summaries, 0.919, "some labels")
    assert "noise ceiling" in texts(with_line)
    assert "noise ceiling" in with_line.caption
    without = label_efficiency(summaries, None, "some labels")
    assert "noise ceiling" not in texts(without)
    assert "noise ceiling" not in without.caption


def test_undefined_and_single_values(summaries):
    single = [summary("gp", 23, [0.5]), summary("forest", 23, [np.nan]), *summaries[3:6]]
    found = texts(label_efficiency(single, None, "some labels"))
    assert "gp, 23 labels: τ 0.500 (1 training sets)" in found


def test_same_figure_every_time(summaries):
    first, second = (label_efficiency(summaries, 0.9, "some labels").svg for _ in range(2))
    assert first == second
