import pytest
from scipy import stats

from predictnas.reports.curves_figure import learning_curves
from predictnas.reports.progress_figure import best_so_far, origin_marks
from predictnas.reports.proxy_figure import proxy_correlations
from predictnas.reports.study_facts import study_facts

CELL = (3, 3, 3, 3, 3, 3)


def facts(maker):
    return study_facts(maker.study, maker.space)


def test_proxy_correlations_agree_with_scipy(make_study):
    maker = make_study().fill(20)
    found = facts(maker)
    figure = proxy_correlations(found)
    accuracies = [label.valid_accuracy for label in found.trained]
    for name in ("params", "zen", "naswot"):
        tau = stats.kendalltau([label.proxies[name] for label in found.trained], accuracies)[0]
        assert f"{name} {tau:.2f}" in figure.svg
    assert "the 20 trained" in figure.caption
    assert "were not chosen at random" in figure.caption


def test_proxies_of_a_random_sample_come_without_the_warning(make_study):
    maker = make_study()
    for option in range(4):
        maker.label((3, 3, 3, 3, 3, option), 50.0 + option, proxies={"zen": float(option)})
    assert "at random" not in proxy_correlations(facts(maker)).caption


def test_one_scored_label_has_no_correlation(make_study):
    assert proxy_correlations(facts(make_study().fill(1))) is None
    assert proxy_correlations(facts(make_study().fill(5, proxies=False))) is None


def test_dead_candidates_stand_below_the_scale(make_study):
    maker = make_study().fill(20)
    assert "below" not in best_so_far(facts(maker)).caption
    maker.label((0, 0, 0, 0, 0, 0), 10.0)
    assert "Small hollow marks at the foot (1) are below" in best_so_far(facts(maker)).caption


def test_every_trial_says_its_number(make_study):
    maker = make_study().fill(8)
    svg = best_so_far(facts(maker)).svg
    for trial in maker.study.trials:
        assert f"<title>trial {trial.number}: {trial.value:.2f} %" in svg


def test_origins_have_marks_of_their_own(make_study):
    maker = make_study()
    for number, origin in enumerate(("acquisition", "random", "zeta", "alpha", "beta")):
        maker.label((3, 3, 3, 3, 3, number), 50.0, origin=origin)
    marks = origin_marks(facts(maker).labels)
    assert list(marks) == ["acquisition", "random", "alpha", "beta", "zeta"]
    assert len({marker for _, marker in marks.values()}) == 5


def test_learning_curves_name_the_best_five(make_study):
    maker = make_study().fill(7)
    found = facts(maker)
    svg = learning_curves(found).svg
    for rank, label in enumerate(found.ranking, start=1):
        words = f"{rank}: {label.valid_accuracy:.2f} %, trial {label.number}<"
        assert (words in svg) == (rank <= 5)


def test_without_curves_there_is_no_figure(make_study):
    maker = make_study()
    maker.label(CELL, 50.0, curve=False)
    assert learning_curves(facts(maker)) is None


@pytest.mark.parametrize("epochs", [59, 60, 61, 1000])
def test_long_curves_are_thinned_and_keep_their_end(make_study, epochs):
    from predictnas.reports.curves_figure import _points

    maker = make_study()
    maker._add(
        CELL, {}, value=50.0, intermediate_values={e: float(e) for e in range(1, epochs + 1)}
    )
    points = _points(facts(maker).best)
    assert len(points) <= 60
    assert points[-1] == (epochs, float(epochs))
    assert points == sorted(points)
