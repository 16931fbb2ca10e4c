from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.spaces import SPACES, get_space
from predictnas.spaces.nasbench201 import NasBench201
from predictnas.tables import label_table, read_table

TABLE = Path(__file__).parents[3].parent / "shared" / "data" / "nasbench201_cifar10.parquet"
OTHER_SPACE = "64-41414-0_30_121"


def table_of(space, n=12):
    rng = np.random.default_rng(0)
    archs = rng.permutation(np.unique(space.sample(4 * n, rng), axis=0))[:n]
    return archs, pd.DataFrame(
        {
            "arch": space.format_all(archs),
            "valid_accuracy": rng.uniform(10, 90, n),
            "epochs": np.arange(n),
            "proxy_snip": np.where(np.arange(n) == 2, np.nan, rng.normal(size=n)),
            "proxy_params": rng.integers(1, 9, n),
            "status_snip": ["ok"] * n,
            "finished": [True] * n,
        }
    )


@pytest.fixture
def space():
    return get_space("nasbench201")


@pytest.fixture
def frame(space):
    return table_of(space)[1]


@pytest.mark.parametrize("name", SPACES)
def test_tables_of_every_space_are_read(name):
    space = get_space(name)
    archs, frame = table_of(space)
    table = label_table(frame, space, "valid_accuracy")
    np.testing.assert_array_equal(table.archs, archs)
    assert table.archs.dtype == np.int64
    assert len(table) == len(archs)
    assert table.graphs == space.graphs(archs)
    assert table.keys == space.keys(archs)


def test_numeric_columns_are_kept_as_floats(frame, space):
    table = label_table(frame, space, "valid_accuracy")
    assert table.frame.columns.tolist() == [
        "valid_accuracy",
        "epochs",
        "proxy_snip",
        "proxy_params",
    ]
    assert (table.frame.dtypes == np.float64).all()
    np.testing.assert_array_equal(table.targets, frame["valid_accuracy"])
    np.testing.assert_array_equal(table.frame["proxy_snip"], frame["proxy_snip"])
    assert table.proxy_columns == ["proxy_snip", "proxy_params"]


def test_pandas_missing_values_become_nan(frame, space):
    frame["proxy_params"] = frame["proxy_params"].astype("Int64").mask(frame["epochs"] == 1)
    table = label_table(frame, space, "valid_accuracy")
    assert np.flatnonzero(np.isnan(table.frame["proxy_params"])).tolist() == [1]


def test_features_are_the_graph_and_the_proxies(frame, space):
    table = label_table(frame, space, "valid_accuracy")
    features = table.features()
    assert features.columns.tolist() == ["graph", "proxy_snip", "proxy_params"]
    assert features["graph"].tolist() == table.graphs
    assert features["graph"][3] is table.features()["graph"][3]
    np.testing.assert_array_equal(features["proxy_params"], frame["proxy_params"])
    assert table.features(proxies=False).columns.tolist() == ["graph"]
    assert table.features(graph=False).columns.tolist() == ["proxy_snip", "proxy_params"]
    chosen = table.features(proxies=["epochs", "proxy_snip"])
    assert chosen.columns.tolist() == ["graph", "epochs", "proxy_snip"]


def test_the_target_is_never_a_feature(frame, space):
    table = label_table(frame, space, "proxy_params")
    assert table.features().columns.tolist() == ["graph", "proxy_snip"]
    with pytest.raises(InputError, match="'proxy_params' is the target"):
        table.features(proxies=["proxy_params"])


def test_features_that_are_not_there_are_refused(frame, space):
    table = label_table(frame, space, "valid_accuracy")
    with pytest.raises(
        InputError, match=r"no numeric column 'proxy_zen'.*proxy_snip, proxy_params"
    ):
        table.features(proxies=["proxy_zen"])
    bare = label_table(frame[["arch", "valid_accuracy"]], space, "valid_accuracy")
    with pytest.raises(InputError, match="neither the graph nor any proxy column"):
        bare.features(graph=False)


def test_repeated_rows_that_agree_are_dropped(frame, space):
    repeated = pd.concat([frame.iloc[[0, 0, 1, 0]], frame, frame.iloc[[7, 2]]])
    table = label_table(repeated, space, "valid_accuracy")
    expected = label_table(frame, space, "valid_accuracy")
    np.testing.assert_array_equal(table.archs, expected.archs)
    pd.testing.assert_frame_equal(table.frame, expected.frame)
    pd.testing.assert_frame_equal(table.features(), expected.features())


def test_repeated_rows_that_disagree_are_named(frame, space):
    repeated = pd.concat([frame, frame.iloc[[7, 2]]], ignore_index=True)
    repeated.loc[13, "valid_accuracy"] = 12.5
    text = frame["arch"][2].replace("|", r"\|").replace("+", r"\+")
    with pytest.raises(InputError, match=f"rows 3 and 14 give '{text}' different labels.*and 12.5"):
        label_table(repeated, space, "valid_accuracy")


@pytest.mark.parametrize("value", [12.5, np.nan])
def test_repeated_rows_agree_in_every_column(frame, space, value):
    frame["test_accuracy"] = frame["valid_accuracy"] - 1
    repeated = pd.concat([frame, frame.iloc[[7, 2]]], ignore_index=True)
    repeated.loc[13, "test_accuracy"] = value
    message = f"rows 3 and 14 give .* in 'test_accuracy', .* and {value:g}; 1 rows repeat"
    with pytest.raises(InputError, match=message) as error:
        label_table(repeated, space, "valid_accuracy")
    assert "\n" not in str(error.value)


def test_repeated_rows_agree_in_their_curves(frame, space):
    frame["curve_loss"] = [[3.0, 2.0, np.nan]] * 12
    repeated = pd.concat([frame, frame.iloc[[7, 2]]], ignore_index=True)
    assert len(label_table(repeated, space, "valid_accuracy")) == 12
    repeated.at[12, "curve_loss"] = [3.0, 1.5]
    message = "rows 8 and 13 give .* labels in epoch 2 of 'curve_loss', 2 and 1.5; 1 rows repeat"
    with pytest.raises(InputError, match=message):
        label_table(repeated, space, "valid_accuracy")


@pytest.mark.parametrize(
    "name", ["seconds", "cpu_seconds", "latency_pixel3_ms", "trainTime", "index", "Unnamed: 0"]
)
def test_clocks_and_row_numbers_may_differ(frame, space, name):
    frame["valid_accuracy"] = frame["valid_accuracy"].astype(np.float32)  # kept in less precision
    repeated = pd.concat([frame, frame.iloc[[7, 2]]], ignore_index=True)
    repeated["valid_accuracy"] = repeated["valid_accuracy"].astype(np.float64)
    repeated.loc[12:, "valid_accuracy"] *= 1 + 1e-7
    repeated[name] = np.arange(14.0)
    assert len(label_table(repeated, space, "valid_accuracy")) == 12
    with pytest.raises(InputError, match=f"rows 8 and 13 give .* in '{name}', 7 and 12; 2 rows"):
        label_table(repeated, space, name)


def test_labels_must_be_finite(frame, space):
    frame.loc[[4, 6, 9], "valid_accuracy"] = np.nan, np.inf, np.nan
    with pytest.raises(InputError, match=r"found 3 NaN or infinite among 12 .* first in row 5"):
        label_table(frame, space, "valid_accuracy")


@pytest.mark.parametrize("target", ["test_accuracy", "status_snip", "finished"])
def test_target_must_be_a_numeric_column(frame, space, target):
    numeric = "valid_accuracy, epochs, proxy_snip, proxy_params"
    with pytest.raises(InputError, match=f"no numeric column '{target}'.*columns are: {numeric}"):
        label_table(frame, space, target)


def test_tables_need_architectures_and_rows(frame, space):
    with pytest.raises(InputError, match=r"needs a column 'arch'.*found: valid_accuracy, epochs"):
        label_table(frame.drop(columns="arch"), space, "valid_accuracy")
    with pytest.raises(InputError, match="at least one row, found none"):
        label_table(frame.iloc[:0], space, "valid_accuracy")


def test_one_malformed_architecture_is_named_with_its_position(frame, space):
    frame.loc[5, "arch"] = frame["arch"][5].replace("~", "-", 1)
    with pytest.raises(InputError, match=r"row 6: expected .* at character 2, .*; 1 of 12 rows"):
        label_table(frame, space, "valid_accuracy")


def test_missing_architectures_are_named(frame, space):
    frame["arch"] = frame["arch"].astype(object)
    frame.loc[3, "arch"] = None
    with pytest.raises(InputError, match="row 4: expected the text of an architecture, found None"):
        label_table(frame, space, "valid_accuracy")


@pytest.mark.parametrize("good", [0, 5])
def test_architectures_of_another_space_are_recognised(frame, space, good):
    frame.loc[good:, "arch"] = OTHER_SPACE
    message = rf"{12 - good} of 12 rows are not .* of nasbench201.*another space; row {good + 1}: "
    with pytest.raises(InputError, match=message) as error:
        label_table(frame, space, "valid_accuracy")
    assert "\n" not in str(error.value)


class WithoutZeros(NasBench201):
    """Combinations with the first option are not architectures here."""

    def is_valid(self, archs):
        return (self._rows(archs) > 0).all(axis=1)


def test_architectures_that_parse_but_are_not_valid_are_refused(frame):
    zeros = (label_table(frame, get_space("nasbench201"), "valid_accuracy").archs == 0).any(axis=1)
    first, count = np.flatnonzero(zeros)[0] + 1, zeros.sum()
    assert 0 < count < 12
    with pytest.raises(InputError, match=f"row {first}: .* not a valid .*; {count} of 12 rows"):
        label_table(frame, WithoutZeros(), "valid_accuracy")


@pytest.fixture
def trainings(space):
    """Twelve cells with seeds 0 to 2 in shuffled order, and a twin of the first with seed 7."""
    archs, frame = table_of(space)
    archs[0] = ONE
    frame.loc[0, "arch"] = space.format(ONE)
    rng = np.random.default_rng(1)
    long = pd.concat([frame.assign(seed=seed) for seed in range(3)])
    long["valid_accuracy"] += rng.normal(size=36)
    long = long.iloc[rng.permutation(36)]
    twin = {**long.iloc[0], "arch": space.format(TWIN), "seed": 7, "valid_accuracy": 50.0}
    long = pd.concat([long, pd.DataFrame([twin])], ignore_index=True)
    epochs = [3 if seed != 2 else 2 for seed in long["seed"]]
    long["curve_loss"] = [np.arange(n) + row for row, n in enumerate(epochs)]
    return long


ONE, TWIN = (1, 3, 0, 0, 0, 1), (1, 0, 3, 0, 0, 1)


def test_seeds_and_twins_are_averaged(trainings, space):
    table = label_table(trainings, space, "valid_accuracy")
    keys = np.array(space.keys(space.parse_all(trainings["arch"])))
    assert table.keys == list(dict.fromkeys(keys))
    assert len(table) == 12
    for row, (arch, key) in enumerate(zip(table.archs, table.keys, strict=True)):
        mine = trainings[keys == key]
        assert space.format(arch) == mine["arch"].iloc[0]
        labels = mine["valid_accuracy"]
        assert table.targets[row] == pytest.approx(labels.mean())
        assert table.num_labels[row] == len(labels) == (4 if key == space.key(ONE) else 3)
        assert table.standard_errors[row] == pytest.approx(labels.std() / np.sqrt(len(labels)))
        proxies = mine["proxy_snip"].dropna()
        expected = proxies.mean() if len(proxies) else np.nan
        assert table.frame["proxy_snip"][row] == pytest.approx(expected, nan_ok=True)
    assert "seed" not in table.frame
    assert len(table.features()) == 12


def test_replicates_have_a_column_for_every_seed(trainings, space):
    table = label_table(trainings, space, "valid_accuracy")
    matrix = table.replicates.matrix()
    assert matrix.shape == (12, 4)
    by_seed = trainings.set_index(["arch", "seed"])["valid_accuracy"]
    for row, arch in enumerate(table.archs):
        text = space.format(ONE if tuple(arch) == TWIN else arch)
        np.testing.assert_array_equal(matrix[row, :3], by_seed[text].loc[[0, 1, 2]])
    twin = [key == space.key(ONE) for key in table.keys]
    np.testing.assert_array_equal(matrix[twin, 3], [50.0])
    assert np.isnan(matrix[~np.array(twin), 3]).all()


def test_curves_are_averaged_epoch_by_epoch(trainings, space):
    table = label_table(trainings, space, "valid_accuracy")
    keys = np.array(space.keys(space.parse_all(trainings["arch"])))
    curve = table.curves["curve_loss"]
    assert curve.shape == (12, 3)
    for row, key in enumerate(table.keys):
        mean = np.flatnonzero(keys == key).mean()
        np.testing.assert_allclose(curve[row], [mean, mean + 1, np.nan])
    seeds = trainings["seed"] == 0
    one = label_table(trainings[seeds].drop(columns="seed"), space, "valid_accuracy")
    np.testing.assert_array_equal(
        one.curves["curve_loss"], np.flatnonzero(seeds)[:, None] + np.arange(3)
    )


def test_without_seeds_every_architecture_has_one_label(frame, space):
    table = label_table(frame, space, "valid_accuracy")
    assert table.replicates is None
    assert table.num_labels.tolist() == [1] * 12
    assert np.isnan(table.standard_errors).all()
    assert table.curves == {}


def test_one_seed_is_trained_once(trainings, space):
    repeated = pd.concat([trainings, trainings.iloc[[5, 9]]], ignore_index=True)
    table = label_table(repeated, space, "valid_accuracy")
    expected = label_table(trainings, space, "valid_accuracy")
    pd.testing.assert_frame_equal(table.frame, expected.frame)
    assert table.num_labels.tolist() == expected.num_labels.tolist()
    repeated.loc[37, "valid_accuracy"] = 12.5
    seed = repeated["seed"][5]
    message = f"rows 6 and 38 give '.*' different labels of seed {seed} in .*12.5; 1 rows repeat"
    with pytest.raises(InputError, match=message) as error:
        label_table(repeated, space, "valid_accuracy")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "found"), [(1.5, "1.5 in row 4"), (None, "nan in row 4"), ("x", "0 in row 1")]
)
def test_seeds_are_whole_numbers(frame, space, wrong, found):
    frame["seed"] = pd.Series([0] * 3 + [wrong] + [0] * 8)
    with pytest.raises(InputError, match=f"'seed' must hold a whole number .* found {found}"):
        label_table(frame, space, "valid_accuracy")


@pytest.mark.parametrize("wrong", [1.0, ["a"], "text"])
def test_curves_are_lists_of_numbers(frame, space, wrong):
    frame["curve_loss"] = pd.Series([wrong] * 12, dtype=object)
    with pytest.raises(InputError, match="'curve_loss' must hold a list of numbers in every row"):
        label_table(frame, space, "valid_accuracy")


def test_labels_in_mixed_units_are_refused(frame, space):
    frame.loc[3, "valid_accuracy"] = 0.93
    with pytest.raises(InputError, match="'valid_accuracy' mixes fractions and percent"):
        label_table(frame, space, "valid_accuracy")


@pytest.mark.parametrize(
    ("name", "refused"),
    [("acc", True), ("valAcc", True), ("accelerator_ms", False), ("train_loss", False)],
)
def test_a_target_is_an_accuracy_by_its_name(frame, space, name, refused):
    frame[name] = frame.pop("valid_accuracy")
    frame.loc[6:, name] /= 100
    if not refused:
        assert len(label_table(frame, space, name)) == 12
        return
    with pytest.raises(InputError, match=f"'{name}' mixes fractions and percent"):
        label_table(frame, space, name)
    assert len(label_table(frame, space, "epochs")) == 12


@pytest.mark.parametrize("target", ["valid_accuracy", "acc"])
def test_curves_in_mixed_units_are_refused(frame, space, target):
    frame[target] = frame.pop("valid_accuracy")
    scales = [1] * 9 + [100] * 3
    values = [63.0] * 12
    frame[f"curve_{target}"] = [[30 / s, v / s] for s, v in zip(scales, values, strict=True)]
    message = f"'curve_{target}' mixes fractions and percent: 3 of 12 curves"
    with pytest.raises(InputError, match=message):
        label_table(frame, space, target)


@pytest.mark.skipif(not TABLE.exists(), reason="the development tables are not here")
def test_nasbench201_table(space):
    table = label_table(read_table(TABLE), space, "valid_accuracy")
    assert len(table) == 15_625
    assert len(set(table.keys)) == 6_466
    best = table.frame.loc[table.targets.argmax()]
    assert best["index"] == 6111
    assert best["valid_accuracy"] == pytest.approx(91.6067, abs=5e-5)
    assert len(table.proxy_columns) == 13


def test_twins_agree_where_keys_or_graphs_do(space):
    texts = [
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|",
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",  # the same network
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|",  # computes nothing
        "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|",
    ]
    frame = pd.DataFrame({"arch": texts, "valid_accuracy": [1.0, 2.0, 3.0, 4.0]})
    twins = label_table(frame, space, "valid_accuracy").twins
    assert twins[0] == twins[1]
    assert len(set(twins)) == 3
    # Everything that either says is the same is in one class, and no class holds more than that.
    archs = space.sample(3000, np.random.default_rng(0))
    frame = pd.DataFrame({"arch": space.format_all(np.unique(archs, axis=0))})
    table = label_table(frame.assign(valid_accuracy=1.0), space, "valid_accuracy")
    by_graph = [graph.key() for graph in table.graphs]
    links = nx.Graph(zip(table.keys, [f"graph {key}" for key in by_graph], strict=True))
    classes = {node: n for n, part in enumerate(nx.connected_components(links)) for node in part}
    expected = [classes[key] for key in table.keys]
    assert len(set(expected)) < len(set(by_graph))
    assert len(set(zip(expected, table.twins, strict=True))) == len(set(expected))
    assert len(set(expected)) == len(set(table.twins))
