import pytest

from predictnas.errors import InputError
from predictnas.predictors import PREDICTORS, Predictor, get_predictor


def test_every_predictor_is_one_and_is_documented():
    assert {"gp", "gp-wl", "gp-deep", "mlp", "forest", "boosting", "ridge", "lcsvr"} <= set(
        PREDICTORS
    )
    for name, predictor in PREDICTORS.items():
        assert issubclass(predictor, Predictor)
        for parameter in get_predictor(name).get_params():
            assert parameter in (predictor.__doc__ or "")


def test_parameters_reach_the_constructor():
    assert get_predictor("forest", trees=7, operations=("a",)).get_params()["trees"] == 7


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(InputError, match="unknown predictor 'svm'; choose from: gp, gp-wl, gp-"):
        get_predictor("svm")
    message = "unknown gp parameter 'trees'; choose from: encoding, max_iterations"
    with pytest.raises(InputError, match=message):
        get_predictor("gp", trees=7)
