import math

import pytest

from predictnas.errors import InputError
from predictnas.reports.study_facts import study_facts

CELL, OTHER, THIRD = (3, 3, 3, 3, 3, 3), (3, 3, 3, 3, 3, 2), (3, 3, 3, 3, 2, 3)


def test_ranking_prefers_the_earlier_of_equals_and_leaves_copies_out(make_study):
    maker = make_study()
    maker.label(CELL, 80.0)
    maker.label(OTHER, 90.0, copied_from=0)
    maker.label(OTHER, 80.0)
    maker.label(THIRD, 85.0, seconds=4.0)
    facts = study_facts(maker.study, maker.space)
    assert [label.number for label in facts.ranking] == [3, 0, 2]
    assert facts.best.valid_accuracy == 85.0
    assert facts.seconds == 1.5 + 1.5 + 4.0
    assert facts.states == {"trained": 3, "copied from a twin": 1}


def test_reads_every_state(make_study):
    maker = make_study()
    maker.label(CELL, 80.0, predicted_mean=70.0, predicted_std=2.0, proxies={"zen": 1, "a": None})
    maker.fail(OTHER, "diverged")
    maker.fail(OTHER, None)
    maker.prune(THIRD, {2: 20.0, 1: 10.0})
    maker.study.enqueue_trial(maker.space.params(OTHER))
    maker.study.ask()
    maker.study.enqueue_trial(maker.space.params(THIRD))
    facts = study_facts(maker.study, maker.space)
    (label,) = facts.labels
    assert label.forecast == (70.0, 2.0)
    assert label.curve == {1: 20.0, 2: 40.0, 3: 60.0, 4: 80.0}
    assert label.proxies["zen"] == 1.0
    assert math.isnan(label.proxies["a"])
    assert [failure.reason for failure in facts.failures] == ["diverged"]
    assert facts.pruned == {3: {1: 10.0, 2: 20.0}}
    assert facts.states == {
        "trained": 1,
        "stopped early": 1,
        "failed": 1,
        "interrupted": 1,
        "running": 1,
        "waiting": 1,
    }


@pytest.mark.parametrize("std", [0.0, -1.0, None, math.nan])
def test_a_forecast_without_a_deviation_is_none(make_study, std):
    maker = make_study()
    maker.label(CELL, 80.0, predicted_mean=70.0, predicted_std=std)
    assert study_facts(maker.study, maker.space).best.forecast is None


def test_copies_alone_are_no_labels(make_study):
    maker = make_study()
    maker.label(CELL, 80.0, copied_from=7)
    with pytest.raises(InputError, match="holds no label yet"):
        study_facts(maker.study, maker.space)
