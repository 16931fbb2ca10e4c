"""Every parameter of every registered predictor matters, and values without sense are refused."""

import inspect

import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.predictors import PREDICTORS
from predictnas.spaces.nasbench201 import NasBench201

# For every parameter of a predictor: a value that must change predictions, and one to be refused.
PARAMETERS = {
    "encoding": ("path", "no_such_encoding"),
    "operations": (("none", "skip_connect", "nor_conv_3x3"), ("nor_conv_3x3", "nor_conv_3x3")),
    "warp": ("none", "logit"),
    "max_iterations": (1, 0),
    "max_search_labels": (10, 0),
    "iterations": (2, -1),
    "prior_std": (0.5, 0.0),
    "subsample": (1.0, 0.0),
    "curve": (("proxy_heavy", "proxy_noise"), "no_such_curve"),
    "nu": (0.2, 0.0),
    "folds": (3, 1),
    "repeats": (4, 1),
    "width": (8, 0),
    "depth": (1, 0),
    "learning_rate": (0.001, 0.0),
    "steps": (10, 0),
    "batch_size": (8, 0),
    "random_state": (1, -1),
    "trees": (10, 0),
    "max_features": (1.0, 0.0),
    "min_samples_leaf": (4, 0),
    "loss": ("squared", "absolute"),
    "pretrained": (lambda each, table: each.pretrain(table, steps=2).pretrained, "weights"),
    "unlabelled": (tuple(NasBench201().graphs(np.eye(6, dtype=int) * 3)), "graphs"),
    "smoother": (lambda each, table: each.pretrain(table, steps=2).smoother, "smoother"),
    "members": (("forest",), ("forest", "auto")),
    "strength": (1.0, 0.0),
}
PARAMETER_CASES = [
    (name, parameter)
    for name, predictor in PREDICTORS.items()
    for parameter in inspect.signature(predictor).parameters
]


@pytest.mark.parametrize(("name", "parameter"), PARAMETER_CASES)
def test_every_parameter_matters_or_is_refused(name, parameter, make, cells):
    assert parameter in PARAMETERS, f"add {parameter} to PARAMETERS"
    changed, refused = PARAMETERS[parameter]
    table, accuracy = cells(40)
    with pytest.raises(InputError, match=r"expected|unknown"):
        make(name, **{parameter: refused}).fit(table, accuracy)
    if parameter == "operations":  # what it changes is what is accepted, tested above
        return
    settings = {}
    if callable(changed):
        if name == "auto":
            settings = {"members": ("gp", "gnn")}  # the first cannot be pretrained
        changed = changed(make(name, **settings), table)
    default = make(name, **settings).fit(table, accuracy).predict(table, return_std=True)
    other = make(name, **settings, **{parameter: changed}).fit(table, accuracy)
    assert not np.allclose(default, other.predict(table, return_std=True), rtol=1e-6)
