"""The part that reads the API object, with a stand-in that has the interface of the package's."""

import sys

import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.spaces import get_space
from predictnas.tables import label_table
from predictnas.tables.importers import IMPORTERS, ImportOptions
from predictnas.tables.importers.nats_bench import read_nats_bench

SEEDS = {"cifar10-valid": (777, 888, 999), "cifar100": (777, 888), "ImageNet16-120": (777,)}


class StandIn:
    """Answers as ``nats_bench.create(…)`` does."""

    def __init__(self, space, archs, labels, sizes, hp):
        self.space, self.archs, self.labels, self.sizes, self.hp = space, archs, labels, sizes, hp

    def __len__(self):
        return len(self.archs)

    def arch(self, index):
        return self.space.format(self.archs[index])

    def query_meta_info_by_index(self, arch_index, hp="12"):
        assert hp == self.hp
        return self

    def get_dataset_seeds(self, dataset):
        return list(SEEDS[dataset])

    def get_more_info(self, index, dataset, iepoch=None, hp="12", is_random=True):
        assert hp == self.hp
        assert iepoch is None
        assert type(is_random) is int
        label = self.labels[index]
        shift = 0.0 if label == 10.0 else (is_random - 888) / 1000
        return {
            "train-loss": 0.1,
            "train-accuracy": 99.0,
            "train-per-time": 2.0,
            "train-all-time": 400.0 + index,
            "valid-accuracy": label / (10 if dataset == "cifar100" else 1) + shift,
            "test-accuracy": label / 2,
        }

    def get_cost_info(self, index, dataset, hp="12"):
        assert hp == self.hp
        outputs = 65 * 90 if dataset == "cifar100" else 0
        return {"params": (self.sizes[index] + outputs) / 1e6, "flops": 1.0, "latency": None}


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
    assert table.metadata["checks"]["unreachable"] == 60
    assert table.metadata["checks"]["parameters"] == 8
    labels = label_table(frame, api.space, "valid_accuracy")
    assert len(labels) == len(set(api.space.keys(api.archs)))


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

    class Package:
        @staticmethod
        def create(path, search_space, fast_mode=False, verbose=True):
            asked.append((path, search_space, fast_mode, verbose))
            if not fast_mode:
                raise ValueError("not a\nbenchmark")
            return StandIn(api.space, api.archs[:3], api.labels[:3], api.sizes[:3], "200")

    monkeypatch.setitem(sys.modules, "nats_bench", Package)
    options = ImportOptions(space="nasbench201", dataset="cifar10-valid")
    (table,) = IMPORTERS["nats-bench"](str(tmp_path), options)
    assert len(table.frame) == 9
    assert asked == [(str(tmp_path), "tss", True, False)]
    (tmp_path / "file.pbz2").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no NATS-Bench archive .tss.: not a benchmark"):
        IMPORTERS["nats-bench"](str(tmp_path / "file.pbz2"), options)
    with pytest.raises(InputError, match="cannot read .*none: No such file"):
        IMPORTERS["nats-bench"](str(tmp_path / "none"), options)
