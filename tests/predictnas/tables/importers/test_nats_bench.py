"""The part that reads the API object, with a stand-in that has the interface of the package's."""

import pickle
import sys

import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.spaces import get_space
from predictnas.tables import label_table
from predictnas.tables.importers import IMPORTERS, ImportOptions
from predictnas.tables.importers.nats_bench import read_nats_bench

SEEDS = {"cifar10-valid": (777, 888, 999), "cifar100": (777, 888), "ImageNet16-120": (777,)}
CLASSES = {"cifar10-valid": 10, "cifar100": 100, "ImageNet16-120": 120}


class Run:
    """One training, as the package keeps it: ``x-valid`` of every epoch on CIFAR-10 alone."""

    def __init__(self, dataset, label, shift):
        self.epochs = 4
        self.train_acc1es = {epoch: 96.0 + epoch for epoch in range(4)}
        self.eval_acc1es = {f"ori-test@{epoch}": label / 2 for epoch in range(4)}
        evaluated = range(4) if dataset == "cifar10-valid" else [3]
        self.eval_acc1es |= {f"x-valid@{epoch}": label - 3 + epoch + shift for epoch in evaluated}


class Results:
    """What the package keeps of an architecture; unknown data sets and seeds are KeyErrors."""

    def __init__(self, label, size, seeds):
        self.label, self.size, self.dataset_seed = label, size, seeds

    def get_dataset_names(self):
        return list(self.dataset_seed)

    def get_dataset_seeds(self, dataset):
        return list(self.dataset_seed[dataset])

    def get_compute_costs(self, dataset):
        assert self.dataset_seed[dataset]
        outputs = 65 * (CLASSES[dataset] - 10)
        return {"params": (self.size + outputs) / 1e6, "flops": 1.0, "latency": None}

    def query(self, dataset, seed):
        return Run(dataset, self.label, self.shift(seed))

    def shift(self, seed):
        return 0.0 if self.label == 10.0 else (seed - 888) / 1000


class StandIn:
    """Answers as ``nats_bench.create(…)`` does."""

    def __init__(self, space, archs, labels, sizes, hp, seeds=SEEDS):
        self.space, self.archs, self.labels, self.sizes, self.hp = space, archs, labels, sizes, hp
        self.seeds = seeds

    def __len__(self):
        return len(self.archs)

    def arch(self, index):
        return self.space.format(self.archs[index])

    def query_meta_info_by_index(self, arch_index, hp="12"):
        assert hp == self.hp
        return Results(self.labels[arch_index], self.sizes[arch_index], self.seeds)

    def get_more_info(self, index, dataset, iepoch=None, hp="12", is_random=True):
        assert iepoch is None
        assert type(is_random) is int
        results = self.query_meta_info_by_index(index, hp)
        assert is_random in results.get_dataset_seeds(dataset)
        label = results.label
        return {
            "train-loss": 0.1,
            "train-accuracy": 99.0,
            "train-per-time": 2.0,
            "train-all-time": 400.0 + index,
            "valid-accuracy": label / CLASSES[dataset] * 10 + results.shift(is_random),
            "test-accuracy": label / 2,
        }


@pytest.fixture(scope="module")
def api(cells, parameters):
    space, archs, labels = cells
    return StandIn(space, archs, labels, parameters(archs), "200")


def test_every_seed_is_a_row(api):
    (table,) = read_nats_bench(api, api.space, ImportOptions(dataset="cifar10-valid"), "x")
    frame = table.frame
    assert len(frame) == 3 * len(api)
    assert frame["arch"].tolist() == np.repeat([api.arch(i) for i in range(len(api))], 3).tolist()
    assert frame["seed"].tolist() == [777, 888, 999] * len(api)
    expected = api.labels[:, None] + np.where(api.labels == 10, 0, 1)[:, None] * [-0.111, 0, 0.111]
    np.testing.assert_allclose(frame["valid_accuracy"], expected.ravel())
    np.testing.assert_allclose(frame["test_accuracy"], np.repeat(api.labels / 2, 3))
    np.testing.assert_allclose(frame["seconds"], np.repeat(400.0 + np.arange(len(api)), 3))
    np.testing.assert_allclose(frame["params"], np.repeat(api.sizes, 3))
    assert table.metadata["seeds"] == [777, 888, 999]
    assert table.metadata["epochs"] == "200"
    assert table.metadata["missing"] == []
    assert table.metadata["units"]["seconds"] == "seconds"
    assert table.metadata["checks"]["unreachable"] == 60
    assert table.metadata["checks"]["parameters"] == 8
    labels = label_table(frame, api.space, "valid_accuracy")
    assert len(labels) == len(set(api.space.keys(api.archs)))


def test_curves_are_those_with_a_value_for_every_epoch(api):
    few = StandIn(api.space, api.archs[58:62], api.labels[58:62], api.sizes[58:62], "200")
    tables = {t.dataset: t for t in read_nats_bench(few, api.space, ImportOptions(), "x")}
    for table in tables.values():
        assert [curve.tolist() for curve in table.frame["curve_train_accuracy"]] == [
            [96.0, 97.0, 98.0, 99.0]
        ] * len(table.frame)
        assert table.metadata["split"]["curve_train_accuracy"] == "training"
    frame = tables["cifar10-valid"].frame
    curves = np.stack(frame["curve_valid_accuracy"])
    np.testing.assert_allclose(curves[:, -1], frame["valid_accuracy"])
    np.testing.assert_allclose(curves[:, 0], frame["valid_accuracy"] - 3)
    # Only images of which half are for testing have been looked at in every epoch.
    assert "curve_valid_accuracy" not in tables["cifar100"].frame


def test_data_sets_that_are_not_there_are_left_out_unless_asked_for(api):
    there = {"cifar10-valid": (777,), "cifar10": (777,)}
    few = StandIn(api.space, api.archs[:70], api.labels[:70], api.sizes[:70], "200", there)
    (table,) = read_nats_bench(few, api.space, ImportOptions(), "x")
    assert table.dataset == "cifar10-valid"
    assert table.metadata["missing"] == ["cifar100", "ImageNet16-120"]
    with pytest.raises(InputError, match="x holds no training on cifar100; give the whole arch"):
        read_nats_bench(few, api.space, ImportOptions(dataset="cifar100"), "x")
    none = StandIn(api.space, api.archs[:3], api.labels[:3], api.sizes[:3], "200", {})
    with pytest.raises(InputError, match="no training on cifar10-valid or cifar100 or ImageNet16"):
        read_nats_bench(none, api.space, ImportOptions(), "x")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (
            AssertionError("invalid data path : d/5.pickle.pbz2"),
            "AssertionError: invalid data",
        ),
        (EOFError("Compressed file ended before the end-of-stream marker"), "EOFError: Compressed"),
        (
            pickle.UnpicklingError("invalid load key,\n'j'."),
            "UnpicklingError: invalid load key",
        ),
        (
            ValueError("The 5-th architecture only has hyper-parameters of ['12']"),
            "only has",
        ),
        (OSError("Invalid data stream"), "OSError: Invalid data stream"),
    ],
)
def test_damaged_files_of_cells_are_one_line(api, monkeypatch, raised, said):
    found = api.query_meta_info_by_index

    def query(arch_index, hp):
        if arch_index == 5:
            raise raised
        return found(arch_index, hp)

    monkeypatch.setattr(api, "query_meta_info_by_index", query, raising=False)
    message = "x: cannot read the trainings of 200 epochs of architecture 5 "
    with pytest.raises(InputError, match=message) as error:
        read_nats_bench(api, api.space, ImportOptions(), "x")
    assert api.arch(5) in str(error.value)
    assert said in str(error.value)
    assert str(error.value).endswith("; fetch the archive again, all of it")
    assert "\n" not in str(error.value)


def test_data_sets_are_tables_of_their_own(api):
    few = StandIn(api.space, api.archs[55:65], api.labels[55:65], api.sizes[55:65], "200")
    with pytest.raises(InputError, match="x, cifar100: .*share the label of chance, about 1, but"):
        read_nats_bench(
            StandIn(api.space, few.archs, few.labels * 2, few.sizes, "200"),
            api.space,
            ImportOptions(dataset="cifar100"),
            "x",
        )
    (table,) = read_nats_bench(few, api.space, ImportOptions(dataset="cifar100"), "x")
    assert table.metadata["seeds"] == [777, 888]
    with pytest.raises(InputError, match="no data set 'mnist'; choose from: cifar10-valid, cifar"):
        read_nats_bench(few, api.space, ImportOptions(dataset="mnist"), "x")


def test_cells_that_are_not_those_of_the_labels_are_refused(api):
    wrong = StandIn(api.space, api.archs[:, [0, 1, 3, 2, 4, 5]], api.labels, api.sizes, "200")
    with pytest.raises(InputError, match="x, cifar10-valid: the order of the edges or the codes"):
        read_nats_bench(wrong, api.space, ImportOptions(dataset="cifar10-valid"), "x")


def test_the_size_space(parameters):
    space = get_space("nats-size")
    archs = space.sample(6, np.random.default_rng(0), distinct=True)
    networks = [space.build(arch, (3, 32, 32), 10, cells=1, divisor=1) for arch in archs]
    sizes = [sum(weight.numel() for weight in net.parameters()) for net in networks]
    api = StandIn(space, archs, np.linspace(60, 70, 6), np.array(sizes), "90")
    (table,) = read_nats_bench(api, space, ImportOptions(dataset="cifar10-valid"), "x")
    assert table.frame["arch"].unique().tolist() == space.format_all(archs)
    assert table.metadata["checks"] == {"parameters": 6}


def test_without_the_package_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    with pytest.raises(InputError, match=r"needs the package nats_bench: pip install") as error:
        IMPORTERS["nats-bench"](str(tmp_path), ImportOptions(space="nasbench201"))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="space of NATS-Bench 'None'; choose from: nasbench201, n"):
        IMPORTERS["nats-bench"](str(tmp_path), ImportOptions())


def test_the_package_opens_the_archive(monkeypatch, tmp_path, api):
    asked = []
    failures = [
        *(pickle.UnpicklingError("pickle\nlacks"), ModuleNotFoundError("No module named 'x'")),
        *(TypeError("meta"), EOFError(), KeyError("meta_archs")),
    ]

    class Package:
        @staticmethod
        def create(path, search_space, fast_mode=False, verbose=True):
            asked.append((path, search_space, fast_mode, verbose))
            if not fast_mode:
                raise failures[-1]
            return StandIn(api.space, api.archs[:3], api.labels[:3], api.sizes[:3], "200")

    monkeypatch.setitem(sys.modules, "nats_bench", Package)
    options = ImportOptions(space="nasbench201", dataset="cifar10-valid")
    (table,) = IMPORTERS["nats-bench"](str(tmp_path), options)
    assert len(table.frame) == 9
    assert asked == [(str(tmp_path), "tss", True, False)]
    (tmp_path / "file.pbz2").write_bytes(b"x")
    while failures:
        name = type(failures[-1]).__name__
        with pytest.raises(InputError, match=rf"no NATS-Bench archive .tss.: {name}: .*; give the"):
            IMPORTERS["nats-bench"](str(tmp_path / "file.pbz2"), options)
        failures.pop()
    with pytest.raises(InputError, match="cannot read .*none: No such file"):
        IMPORTERS["nats-bench"](str(tmp_path / "none"), options)
