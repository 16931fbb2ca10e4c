import numpy as np
import pytest

from predictnas.evaluation import kendall_tau
from predictnas.reports.forecast_figure import (
    cross_validated,
    predicted_against_measured,
    prospective,
)
from predictnas.reports.study_facts import study_facts


def facts(maker):
    return study_facts(maker.study, maker.space)


def with_errors(make_study, errors):
    maker = make_study()
    cells = maker.space.iterate()[-len(errors) :]
    for number, (cell, error) in enumerate(zip(cells, errors, strict=True)):
        accuracy = 50.0 + number
        forecast = {"predicted_mean": accuracy + error, "predicted_std": 1.0}
        maker.label(tuple(int(i) for i in cell), accuracy, **forecast)
    return facts(maker)


def test_coverage_is_counted_by_hand(make_study):
    # A central 90 % interval reaches 1.645 standard deviations to each side.
    forecasts = prospective(with_errors(make_study, [0.0, 1.6, -1.6, 1.7, -1.7, 5.0]))
    assert forecasts.inside.tolist() == [True, True, True, False, False, False]
    figure = predicted_against_measured(forecasts)
    assert "3 of 6 measured values lie in the 90 % interval" in figure.caption
    tau = kendall_tau(forecasts.measured, forecasts.mean)
    assert f"is {tau:.2f} (95 % interval" in figure.caption


def test_fewer_than_five_forecasts_are_none(make_study):
    assert prospective(with_errors(make_study, [0.0] * 4)) is None
    assert prospective(with_errors(make_study, [0.0] * 5)) is not None


def test_cross_validation_predicts_every_label(make_study):
    maker = make_study().fill(14, forecasts=False)
    forecasts = cross_validated(facts(maker), maker.space)
    assert len(forecasts.labels) == 14
    assert np.isfinite(forecasts.mean).all()
    assert (forecasts.std > 0).all()
    assert "architecture and proxies" in forecasts.how


def test_cross_validation_uses_proxies_only_where_all_have_them(make_study):
    maker = make_study().fill(13, forecasts=False)
    maker.label((3, 3, 3, 3, 3, 3), 90.0)
    assert "on the architecture, each" in cross_validated(facts(maker), maker.space).how


@pytest.mark.parametrize("count", [1, 9])
def test_too_few_labels_are_not_cross_validated(make_study, count):
    maker = make_study().fill(count, forecasts=False)
    assert cross_validated(facts(maker), maker.space) is None
