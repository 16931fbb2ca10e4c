import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.spaces import get_space
from predictnas.tables import label_table, read_table
from predictnas.tables.importers import IMPORTERS, ImportOptions
from predictnas.tables.importers.invariants import check_cells

DATA = Path(__file__).parents[4].parent / "shared" / "data"
PUBLISHED = DATA / "nas_bench_suite_zero_nasbench201.json"
published = pytest.mark.skipif(not PUBLISHED.exists(), reason="the development data is not here")

# As published: the order of the edges, and the operations by code.
BY_START = ("0->1", "0->2", "0->3", "1->2", "1->3", "2->3")
CODES = {
    "nasbench201": ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3"),
    "transnas101-micro": ("skip_connect", "none", "conv_3x3", "conv_1x1"),
}
# For every node two edges, each its source and the code of its operation.
DARTS_CELL = ((0, 0), (1, 3), (0, 2), (2, 2), (1, 1), (3, 4), (0, 5), (4, 6))


def read(path, **options):
    return IMPORTERS["nas-bench-suite-zero"](str(path), ImportOptions(**options))


def entries(space, archs, labels, sizes, *, edges=BY_START, codes=None):
    codes = codes or CODES[space.name]
    found = {}
    for arch, label, size in zip(archs, labels, sizes, strict=True):
        params = space.params(arch)
        key = str(tuple(codes.index(params[edge]) for edge in edges))
        found[key] = {"val_accuracy": label, "params": size / 1e6, "jacov": {"score": -label}}
    return found


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "zc.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_cells_are_read_as_they_were_written(cells, write, parameters):
    space, archs, labels = cells
    written = entries(space, archs, labels, parameters(archs))
    (table,) = read(write({"nasbench201": {"cifar10": written}}))
    assert table.frame["arch"].tolist() == space.format_all(archs)
    np.testing.assert_array_equal(table.frame["valid_accuracy"], labels)
    np.testing.assert_array_equal(table.frame["proxy_jacov"], -labels)
    np.testing.assert_allclose(table.frame["proxy_params"] * 1e6, parameters(archs))
    assert table.dataset == table.metadata["task"] == "cifar10"
    assert table.metadata["space"] == "nasbench201"
    assert table.metadata["units"] == {"valid_accuracy": "percent"}
    assert table.metadata["split"] == {"valid_accuracy": "validation"}
    assert table.metadata["licence"] == "Apache-2.0"
    assert table.metadata["checks"]["unreachable"] == 60
    assert table.metadata["checks"]["parameters"] == 8
    assert len(label_table(table.frame, space, "valid_accuracy")) == 600


def test_files_may_lack_the_level_of_spaces(cells, write, parameters):
    space, archs, labels = cells
    written = {"svhn": entries(space, archs[55:65], labels[55:65], parameters(archs[55:65]))}
    (table,) = read(write(written), space="nasbench201")
    assert table.dataset == "svhn"
    assert "parameters" not in table.metadata["checks"]  # its classes are not known
    with pytest.raises(InputError, match="expected one space at its top, found svhn; name the"):
        read(write(written))


def test_one_data_set_of_several(cells, write, parameters):
    space, archs, labels = cells
    written = entries(space, archs[55:65], labels[55:65], parameters(archs[55:65]))
    path = write({"nasbench201": {"svhn": written, "ninapro": written}})
    assert [table.dataset for table in read(path)] == ["svhn", "ninapro"]
    assert [table.dataset for table in read(path, dataset="ninapro")] == ["ninapro"]
    with pytest.raises(InputError, match="holds no data set 'cifar10'; choose from: svhn, ninap"):
        read(path, dataset="cifar10")


def test_the_native_order_of_the_edges_is_refused(cells, write, parameters):
    space, archs, labels = cells
    wrong = entries(space, archs, labels, parameters(archs), edges=tuple(space.choices))
    with pytest.raises(InputError, match="the order of the edges or the codes") as error:
        read(write({"nasbench201": {"cifar10": wrong}}))
    assert "zc.json, cifar10: " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("swap", list(permutations(range(5), 2))[::3])
def test_exchanged_codes_are_refused(cells, write, swap, parameters):
    space, archs, labels = cells
    codes = list(CODES["nasbench201"])
    codes[swap[0]], codes[swap[1]] = codes[swap[1]], codes[swap[0]]
    wrong = entries(space, archs, labels, parameters(archs), codes=codes)
    with pytest.raises(InputError, match="the order of the edges or the codes of the operations"):
        read(write({"nasbench201": {"cifar10": wrong}}))


def test_transnas_micro(write, simulated):
    space = get_space("transnas101-micro")
    archs = np.random.default_rng(0).permutation(space.iterate())[:500]
    labels = simulated(space, archs, chance=7.48)
    sizes = 5 + 9 * (archs == 3).sum(axis=1) + (archs == 2).sum(axis=1)
    right = entries(space, archs, labels, sizes)
    (table,) = read(write({"transbench101_micro": {"class_scene": right}}))
    assert table.frame["arch"].tolist() == space.format_all(archs)
    for one, other, reason in ((0, 1, "without a path"), (2, 3, "numbers of parameters")):
        codes = list(CODES["transnas101-micro"])
        codes[one], codes[other] = codes[other], codes[one]
        wrong = entries(space, archs, labels, sizes, codes=codes)
        with pytest.raises(InputError, match=f"the order of the edges or the codes.*{reason}"):
            read(write({"transbench101_micro": {"class_scene": wrong}}))


def test_tasks_without_accuracy_have_another_label(write):
    space = get_space("transnas101-micro")
    few = entries(space, [[0] * 6, [1] * 6], [0.2, 0.7], [1, 2])
    (table,) = read(write({"autoencoder": few}), space="transnas101-micro")
    assert table.frame.columns[1] == "valid_ssim"
    assert table.metadata["units"] == {}


@pytest.mark.parametrize(
    ("theirs", "ours", "written", "text"),
    [
        ("transbench101_macro", "transnas101-macro", "(2, 3, 2, 3, 2, 3)", "64-232323-basic"),
        ("transbench101_macro", "transnas101-macro", "(4, 1, 3, 2, 0, 0)", "64-4132-basic"),
        (
            "nasbench101",
            "nasbench101",
            "(0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 2, 1)",
            '{"matrix":[[0,1,1],[0,0,1],[0,0,0]],"ops":["input","maxpool3x3","output"]}',
        ),
        (
            "nasbench301",
            "darts",
            f"({DARTS_CELL}, {DARTS_CELL})",
            "Genotype(normal=[{0}], normal_concat=[2, 3, 4, 5], reduce=[{0}], "
            "reduce_concat=[2, 3, 4, 5])".format(
                "('max_pool_3x3', 0), ('sep_conv_3x3', 1), "
                "('skip_connect', 0), ('skip_connect', 2), "
                "('avg_pool_3x3', 1), ('sep_conv_5x5', 3), "
                "('dil_conv_3x3', 0), ('dil_conv_5x5', 4)"
            ),
        ),
    ],
)
def test_notations_of_other_spaces(write, theirs, ours, written, text):
    (table,) = read(write({theirs: {"cifar10": {written: {"val_accuracy": 90.5}}}}))
    assert table.frame["arch"].tolist() == [text]
    assert table.metadata["space"] == ours
    assert table.metadata["checks"] == "none"
    assert len(label_table(table.frame, get_space(ours), "valid_accuracy")) == 1


def test_the_order_of_parameters_tells_operations_of_other_spaces(write):
    """Cells of three operations in a row: nine times as many weights in 3 × 3 as in 1 × 1."""
    codes = np.stack(np.meshgrid(*[[2, 3, 4]] * 3), -1).reshape(-1, 3)
    sizes = 10 + 9.0 * (codes == 4).sum(axis=1) + (codes == 3).sum(axis=1)
    row = [0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]

    def written(codes):
        texts = [str((*row, 0, *map(int, code), 1)) for code in codes]
        cells = {
            text: {"val_accuracy": 90.0, "params": size}
            for text, size in zip(texts, sizes, strict=True)
        }
        return write({"nasbench101": {"cifar10": cells}})

    (table,) = read(written(codes))
    assert table.metadata["checks"] == {"parameter_order": 24}
    with pytest.raises(InputError, match=r"zc.json, cifar10: the order .* numbers of parameters"):
        read(written(np.array([0, 0, 2, 4, 3])[codes]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"nasbench201": {"cifar10": {"(0, 1', "not a complete JSON file, perhaps cut off"),
        ("[]", "expected JSON of the form"),
        ({"nasbench201": []}, "expected {data set: {architecture: {proxy: value}}}"),
        ({"nasbench201": {"cifar10": {}}}, "expected {data set: {architecture: {proxy: value}}}"),
        (
            {"nasbench201": {"cifar10": {"(0, 1, 2)": {"val_accuracy": 1}}}},
            r"entry 1: '\(0, 1, 2\)' is no architecture of nasbench201",
        ),
        (
            {"nasbench201": {"cifar10": {"(0, 0, 0, 0, 0, 7)": {"val_accuracy": 1}}}},
            "entry 1: .* is no architecture of nasbench201",
        ),
        (
            {"nasbench201": {"cifar10": {"__import__('os').getcwd()": {"val_accuracy": 1}}}},
            "entry 1: .* is no architecture of nasbench201",
        ),
        (
            {"nasbench201": {"cifar10": {"(0, 0, 0, 0, 0, 0)": {"snip": 1}}}},
            "entry 1: .* has no 'val_accuracy'",
        ),
        (
            {"nasbench201": {"cifar10": {"(0, 0, 0, 0, 0, 0)": {"val_accuracy": "high"}}}},
            "entry 1: expected a number as val_accuracy, found 'high'",
        ),
        (
            '{"nasbench201": {"cifar10": {"(0, 0, 0, 0, 0, 0)": {"val_accuracy": NaN}}}}',
            "entry 1: expected a finite val_accuracy",
        ),
        (
            {
                "nasbench201": {
                    "svhn": {
                        "(0, 0, 0, 0, 0, 0)": {"val_accuracy": 91.0},
                        "(2, 0, 0, 0, 0, 0)": {"val_accuracy": 0.93},
                    }
                }
            },
            "svhn: 'valid_accuracy' mixes fractions and percent",
        ),
    ],
)
def test_other_files_are_refused(write, content, message):
    with pytest.raises(InputError, match=message) as error:
        read(write(content))
    assert "\n" not in str(error.value)


def test_missing_files_and_unknown_spaces(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*zc\.json: No such file"):
        read(tmp_path / "zc.json")
    (tmp_path / "zc.json").write_text("{}")
    with pytest.raises(InputError, match="unknown space of NAS-Bench-Suite-Zero 'nats-size'"):
        read(tmp_path / "zc.json", space="nats-size")
    (tmp_path / "zc.json").write_text('{"nasbench201": {"cifar10": {"x": {}}}}')
    with pytest.raises(InputError, match="holds no cells of darts; it holds: nasbench201"):
        read(tmp_path / "zc.json", space="darts")


@published
def test_the_published_file_agrees_with_the_table():
    tables = {table.dataset: table for table in read(PUBLISHED)}
    assert list(tables) == ["cifar100", "ImageNet16-120", "cifar10"]
    assert {len(table.frame) for table in tables.values()} == {491}
    for table in tables.values():
        assert table.metadata["checks"]["unreachable"] == 7
        assert table.metadata["checks"]["isomorphic_agreement"] > 0.97
    ours = tables["cifar10"].frame
    theirs = read_table(DATA / "nasbench201_cifar10.parquet").set_index("arch").loc[ours["arch"]]
    scored = theirs["proxy_params"].notna().to_numpy()
    assert scored.sum() == 303
    for name in ("proxy_params", "proxy_flops"):
        np.testing.assert_allclose(ours[name][scored], theirs[name][scored], rtol=1e-12)
    # Labels of one seed against means of several; the scores of one draw of weights against
    # those of another.
    assert np.abs(ours["valid_accuracy"].to_numpy() - theirs["valid_accuracy"]).median() < 0.4
    assert np.corrcoef(ours["valid_accuracy"], theirs["valid_accuracy"])[0, 1] > 0.999
    for name in ("proxy_synflow", "proxy_l2_norm"):
        assert np.corrcoef(ours[name][scored], theirs[name][scored])[0, 1] > 0.9999


@published
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120"])
def test_every_wrong_order_of_the_published_file_is_refused(dataset):
    """All but the one that reads every cell from its output to its input."""
    (right,) = read(PUBLISHED, dataset=dataset)
    space = get_space("nasbench201")
    archs = space.parse_all(right.frame["arch"])
    labels = right.frame["valid_accuracy"].to_numpy()
    classes = {"cifar10": 10, "cifar100": 100, "ImageNet16-120": 120}[dataset]
    passed = []
    for order in permutations(range(6)):
        try:
            check_cells(space, archs[:, order], labels, chance=100 / classes, source="x")
        except InputError:
            continue
        passed.append(order)
    assert passed == [(0, 1, 2, 3, 4, 5), (5, 4, 2, 3, 1, 0)]
