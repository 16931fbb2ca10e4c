"""scikit-learn's own checks, which give predictors arrays of numbers."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from predictnas.predictors import PREDICTORS, get_predictor

# What is looked at here is the interface, so training is short.
SHORT = {
    "mlp": {"steps": 30, "width": 32},
    "forest": {"trees": 10},
    "gp": {"max_iterations": 2},
    "gp-wl": {"max_iterations": 2},
    "gp-deep": {"max_iterations": 2, "steps": 2},
    "boosting": {"trees": 30},
    "ridge": {"max_iterations": 2},
    "lcsvr": {"curve": "x"},
    "auto": {"members": ("forest",)},
}
# Array-API inputs are checked where SciPy was told to support them, which is not so by default.
SKIPPED = {"check_array_api_input"}


def checks():
    for name in PREDICTORS:
        predictor = get_predictor(name, **SHORT.get(name, {}))
        for estimator, check in estimator_checks_generator(predictor):
            if check.func.__name__ not in SKIPPED:
                yield pytest.param(estimator, check, id=f"{name}-{check.func.__name__}")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_checks(estimator, check):
    check(estimator)
