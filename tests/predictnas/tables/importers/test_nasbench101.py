import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.spaces import get_space
from predictnas.tables import label_table
from predictnas.tables.importers import IMPORTERS, ImportOptions

DATA = Path(__file__).parents[4].parent / "shared" / "data" / "nasbench101_10k.parquet"

SPACE = get_space("nasbench101")
POOL = {
    "module_adjacency": [[0, 1, 1], [0, 0, 1], [0, 0, 0]],
    "module_operations": ["input", "maxpool3x3", "output"],
}
CONV = {
    "module_adjacency": [[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]],
    "module_operations": ["input", "conv3x3-bn-relu", "conv1x1-bn-relu", "output"],
}


def text(cell):
    return json.dumps({"matrix": cell["module_adjacency"], "ops": cell["module_operations"]})


def module_hash(cell):
    return SPACE.key(SPACE.parse(text(cell)))


def queried(cell, valid, **more):
    """A record as the benchmark's API answers a query."""
    return {
        **cell,
        "trainable_parameters": more.pop("params", None),
        "training_time": 100.0,
        "train_accuracy": 1.0,
        "validation_accuracy": valid,
        "test_accuracy": more.pop("test", 0.89),
        **more,
    }


POOL_RECORD = queried(POOL, 0.9)


@pytest.fixture
def read(tmp_path):
    def read(records, lines=True):
        path = tmp_path / "nasbench.json"
        if isinstance(records, str):
            path.write_text(records)
        elif lines:
            path.write_text("\n".join(json.dumps(record) for record in records))
        else:
            path.write_text(json.dumps(records))
        (table,) = IMPORTERS["nasbench101"](str(path), ImportOptions())
        return table

    return read


def test_queries_of_fewer_epochs_belong_to_the_trainings(read):
    records = [
        queried(CONV, 0.5, epochs=36),
        queried(CONV, 0.94, epochs=108),
        queried(POOL, 0.9, epochs=108),
        queried(CONV, 0.95, epochs=108),
        queried(POOL, 0.4, epochs=36, test=0.41),
    ]
    frame = read(records).frame
    cells = [SPACE.parse(text(cell)) for cell in (CONV, POOL, CONV)]
    assert frame["arch"].tolist() == SPACE.format_all(cells)
    assert frame["seed"].tolist() == [0, 0, 1]
    np.testing.assert_allclose(frame["valid_accuracy"], [94.0, 90.0, 95.0])
    np.testing.assert_allclose(frame["valid_accuracy_epoch36"], [50.0, 40.0, np.nan])
    np.testing.assert_allclose(frame["test_accuracy_epoch36"], [89.0, 41.0, np.nan])
    assert len(label_table(frame, SPACE, "valid_accuracy").archs) == 2


@pytest.mark.parametrize("form", ["lines", "list", "object"])
def test_records_of_queries(read, form):
    records = [queried(POOL, 0.9), queried(CONV, 0.94), queried(CONV, 0.95)]
    if form == "object":
        table = read(dict(zip("abc", records, strict=True)), lines=False)
    else:
        table = read(records, lines=form == "lines")
    frame = table.frame
    assert frame["seed"].tolist() == [0, 0, 1]
    np.testing.assert_allclose(frame["valid_accuracy"], [90.0, 94.0, 95.0])
    np.testing.assert_allclose(frame["test_accuracy"], [89.0, 89.0, 89.0])
    assert frame["seconds"].tolist() == [100.0] * 3
    labels = label_table(frame, SPACE, "valid_accuracy")
    assert labels.keys == [module_hash(POOL), module_hash(CONV)]
    np.testing.assert_allclose(labels.targets, [90.0, 94.5])
    assert table.metadata["space"] == "nasbench101"
    assert table.metadata["task"] == "cifar10"
    assert table.metadata["seeds"] == [0, 1]
    assert table.metadata["units"]["valid_accuracy"] == "percent"
    assert table.metadata["split"]["test_accuracy"] == "test"


def test_computed_metrics_of_all_trainings(read):
    def run(valid):
        return {
            "final_training_time": 1000 * valid,
            "final_train_accuracy": 1.0,
            "final_validation_accuracy": valid,
            "final_test_accuracy": valid - 0.02,
            "halfway_validation_accuracy": 0.1,
        }

    record = {
        "fixed_metrics": {**CONV, "module_hash": module_hash(CONV)},
        "computed_metrics": {
            "12": [run(0.7), run(0.71), run(0.72)],
            "108": [run(0.93), run(0.94), run(0.95)],
        },
    }
    table = read([record])
    frame = table.frame
    assert frame["seed"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(frame["valid_accuracy"], [93.0, 94.0, 95.0])
    np.testing.assert_allclose(frame["valid_accuracy_epoch12"], [70.0, 71.0, 72.0])
    np.testing.assert_allclose(frame["test_accuracy"], [91.0, 92.0, 93.0])
    np.testing.assert_allclose(frame["seconds"], [930.0, 940.0, 950.0])
    np.testing.assert_allclose(frame["seconds_epoch12"], [700.0, 710.0, 720.0])
    assert table.metadata["checks"] == {"module_hashes": 1, "parameters": 0}
    assert "halfway" not in " ".join(frame.columns)


def test_isomorphic_records_are_further_trainings(read):
    twin = {
        "module_adjacency": [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]],
        "module_operations": ["input", "conv3x3-bn-relu", "maxpool3x3", "output"],
    }
    other = {**twin, "module_operations": ["input", "maxpool3x3", "conv3x3-bn-relu", "output"]}
    frame = read([queried(twin, 0.9), queried(other, 0.92)]).frame
    assert frame["arch"].nunique() == 2
    assert frame["seed"].tolist() == [0, 1]
    assert len(label_table(frame, SPACE, "valid_accuracy")) == 1


def test_hashes_and_parameters_must_be_those_of_the_cell(read):
    good = queried(CONV, 0.9, module_hash=module_hash(CONV))
    assert read([good]).metadata["checks"]["module_hashes"] == 1
    transposed = np.array(CONV["module_operations"])[[0, 2, 1, 3]].tolist()
    wrong = {**good, "module_operations": transposed}
    with pytest.raises(InputError, match="record 2: its module hash is .*not in the benchmark's"):
        read([good, wrong])
    with pytest.raises(InputError, match="the codes of the operations are not those of the bench"):
        read([queried(CONV, 0.9, params=12345)])


@pytest.mark.skipif(not DATA.exists(), reason="the development data is not here")
def test_published_hashes_and_parameters_hold(read):
    rows = pd.read_parquet(DATA).iloc[::400]
    records = []
    for row in rows.itertuples():
        cell = json.loads(row.arch)
        cell = {"module_adjacency": cell["matrix"], "module_operations": cell["ops"]}
        valid, hashed = row.valid_accuracy / 100, row.module_hash
        records.append(queried(cell, valid, params=row.params, module_hash=hashed))
    table = read(records)
    assert table.metadata["checks"] == {"module_hashes": 25, "parameters": 8}
    np.testing.assert_allclose(table.frame["valid_accuracy"], rows["valid_accuracy"])
    np.testing.assert_array_equal(table.frame["params"], rows["params"])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ('{"module_adjacency": [[0, 1', "line 1: not complete JSON, perhaps cut off"),
        ("[]", "holds no record"),
        ([7], "record 1: expected an object with module_adjacency"),
        ([POOL_RECORD, {"module_operations": []}], "record 2: has no module_adjacency"),
        ([{**POOL, "test_accuracy": 0.9}], "record 1: has no validation_accuracy"),
        ([queried(POOL, 91.0)], "record 1: expected validation_accuracy as a fraction .*91.0"),
        ([queried(POOL, "high")], "as a fraction from 0 to 1, found 'high'"),
        ([{**POOL, "computed_metrics": []}], "expected as computed_metrics"),
        ([{**POOL, "computed_metrics": {}}], "record 1: holds no training"),
        ([{**POOL, "fixed_metrics": None}], "record 1: expected an object as fixed_metrics, found"),
        ([{**queried(POOL, 0.9), "module_operations": ["input", "dense", "output"]}], "dense"),
    ],
)
def test_other_files_are_refused(read, records, message):
    with pytest.raises(InputError, match=message) as error:
        read(records)
    assert "\n" not in str(error.value)
