"""Predictors: from a few labelled architectures to the accuracy of all others.

`PoolModel`, which lets BoTorch's acquisition functions choose among architectures, is in
`predictnas.predictors.botorch_model`: importing it imports BoTorch.
"""

from typing import Any

from predictnas.errors import unknown_name
from predictnas.predictors.auto import AutoPredictor
from predictnas.predictors.base import Predictor
from predictnas.predictors.boosting import BoostingPredictor
from predictnas.predictors.deep_gp import DeepGPPredictor
from predictnas.predictors.forest import ForestPredictor
from predictnas.predictors.gnn import GNNPredictor
from predictnas.predictors.gp import GPPredictor
from predictnas.predictors.lcsvr import LCSVRPredictor
from predictnas.predictors.mlp import MLPEnsemble
from predictnas.predictors.persistence import load_predictor, plain_parameters, save_predictor
from predictnas.predictors.ridge import RidgePredictor
from predictnas.predictors.source_task import SourceTask
from predictnas.predictors.transfer import TransferPredictor
from predictnas.predictors.wl_gp import WLGPPredictor

__all__ = [
    "PREDICTORS",
    "WRAPPERS",
    "AutoPredictor",
    "BoostingPredictor",
    "DeepGPPredictor",
    "ForestPredictor",
    "GNNPredictor",
    "GPPredictor",
    "LCSVRPredictor",
    "MLPEnsemble",
    "Predictor",
    "RidgePredictor",
    "SourceTask",
    "TransferPredictor",
    "WLGPPredictor",
    "get_predictor",
    "load_predictor",
    "plain_parameters",
    "save_predictor",
]

PREDICTORS: dict[str, type[Predictor]] = {
    "gp": GPPredictor,
    "gp-wl": WLGPPredictor,
    "gp-deep": DeepGPPredictor,
    "gnn": GNNPredictor,
    "mlp": MLPEnsemble,
    "forest": ForestPredictor,
    "boosting": BoostingPredictor,
    "ridge": RidgePredictor,
    "lcsvr": LCSVRPredictor,
    "auto": AutoPredictor,
}

# Predictors around one of the others; what they need beside it has no default.
WRAPPERS: dict[str, type[Predictor]] = {"transfer": TransferPredictor}


def get_predictor(name: str, **parameters: Any) -> Predictor:
    """Return an unfitted predictor.

    Parameters
    ----------
    name
        One of `PREDICTORS`.
    parameters
        Parameters of its constructor.

    Raises
    ------
    InputError
        If there is no predictor of that name, or it has no parameter of a name given.

    Examples
    --------
    >>> get_predictor("forest", trees=50).trees
    50
    """
    if name not in PREDICTORS:
        raise unknown_name("predictor", name, PREDICTORS)
    predictor: Predictor = PREDICTORS[name]()
    known = predictor.get_params(deep=False)
    for parameter in parameters:
        if parameter not in known:
            raise unknown_name(f"{name} parameter", parameter, known)
    predictor.set_params(**parameters)
    return predictor
