import json

import numpy as np

from predictnas.evaluation.json_values import json_value


def test_values_become_what_json_holds():
    value = {
        "array": np.array([[1.0, np.nan]]),
        "scalar": np.float64(2.5),
        "count": np.int64(3),
        "pair": (float("inf"), 1),
        "text": "as it is",
        "flag": np.bool_(True),
        "nothing": None,
        7: [],
    }
    plain = json_value(value)
    assert plain == {
        "array": [[1.0, None]],
        "scalar": 2.5,
        "count": 3,
        "pair": [None, 1],
        "text": "as it is",
        "flag": True,
        "nothing": None,
        "7": [],
    }
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
