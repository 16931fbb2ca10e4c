"""Spaces that users declare, beyond what holds for every space."""
# ruff: noqa: RUF012 - dictionaries as users write them

import math

import numpy as np
import pytest
import torch
from torch import nn

from encoders import ArchGraph, WeisfeilerLehmanEncoder
from predictnas.errors import CandidateError, InputError
from predictnas.spaces import DeclaredSpace, Space

SHAPE = (1, 4, 4)


class Chains(DeclaredSpace):
    """Chains of up to three layers."""

    choices = {"layers": (1, 2, 3), "width": (4, 8), "width_2": (4, 8), "width_3": (4, 8)}
    conditions = {"width_2": {"layers": (2, 3)}, "width_3": {"layers": (3,)}}
    example_shape = SHAPE

    def build(self, arch, input_shape, num_classes):
        chosen = self.options(arch)
        widths = [value for name, value in chosen.items() if name != "layers"]
        layers = [module for width in widths for module in (nn.LazyLinear(width), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers, nn.LazyLinear(num_classes))


@pytest.fixture(scope="module")
def chains():
    return Chains()


def test_what_a_class_declares_becomes_texts(chains):
    assert chains.name == "Chains"
    assert chains.choices["layers"] == ("1", "2", "3")
    assert chains.values["layers"] == (1, 2, 3)
    assert chains.conditions["width_3"] == {"layers": ("3",)}
    assert chains.format((1, 0, 1, 0)) == "2,4,8,4"
    assert chains.from_params({"layers": 2, "width": "4", "width_2": 8, "width_3": 4}) == (
        1,
        0,
        1,
        0,
    )
    assert chains.identity == (
        "Chains: layers=1|2|3; width=4|8; width_2=4|8 if layers=2|3; width_3=4|8 if layers=3"
    )


def test_options_are_those_that_exist_as_they_were_declared(chains):
    assert chains.options((0, 1, 0, 0)) == {"layers": 1, "width": 8}
    assert chains.options((2, 1, 0, 1)) == {"layers": 3, "width": 8, "width_2": 4, "width_3": 8}
    assert [type(value) for value in chains.options((0, 0, 0, 0)).values()] == [int, int]


def test_what_depends_on_what_does_not_exist_does_not_exist():
    class Nested(Chains):
        choices = {"a": (False, True), "b": (False, True), "c": (1, 2), "d": (1, 2)}
        conditions = {"b": {"a": (True,)}, "c": {"b": (True,)}, "d": {"a": (True,), "b": (False,)}}

    space = Nested()
    assert space.options((0, 1, 0, 0)) == {"a": False}
    assert space.options((1, 1, 0, 0)) == {"a": True, "b": True, "c": 1}
    assert space.options((1, 0, 0, 1)) == {"a": True, "b": False, "d": 2}
    # 1 without a; 2 of c, 2 of d.
    assert len(set(space.keys(space.iterate()))) == 5


def test_equal_keys_are_equal_choices_that_exist(chains):
    rows = chains.iterate()
    # One layer of 2 widths, two of 2 × 2, three of 2 × 2 × 2.
    assert len(rows) == chains.size == 24
    assert len(set(chains.keys(rows))) == 2 + 4 + 8
    assert chains.key((0, 1, 0, 0)) == chains.key((0, 1, 1, 1)) != chains.key((0, 0, 0, 0))
    with pytest.raises(InputError, match="expected 15 distinct architectures, found 14"):
        chains.sample(15, np.random.default_rng(0), distinct=True)


def test_graphs_are_traces_filled_up_to_one_size(chains):
    graph = chains.graph((0, 1, 1, 1))
    # Three layers with activations between input, head and output are the most.
    assert graph.num_nodes == 9
    assert graph.operations == ("input", "linear/8", "relu", "linear/10", "output", *["none"] * 4)
    assert graph.topological_order()[:4] == (0, 1, 2, 3)
    expected = ArchGraph(
        ("input", "linear/8", "relu", "linear/10", "output"), ((0, 1), (1, 2), (2, 3), (3, 4))
    )
    assert graph.canonical() == expected
    assert set(chains.operations) == {
        *("linear/4", "linear/8", "linear/10", "relu"),
        *("other", "skip_connect", "none"),
    }
    graphs = chains.graphs(chains.iterate())
    assert {each.num_nodes for each in graphs} == {9}
    assert len({each.key() for each in graphs}) == 14
    # Only what distinguishes networks is traced.
    assert len(chains._traces) == 14
    encoded = WeisfeilerLehmanEncoder(operations=chains.operations).fit_transform(graphs)
    assert len(np.unique(encoded, axis=0)) == 14


def test_what_the_graph_does_not_show_is_never_merged_unless_asked_for():
    class Initialised(Chains):
        choices = {"width": (4, 8), "gain": (1.0, 2.0), "rate": (0.0, 0.5)}
        conditions = {}

        def build(self, arch, input_shape, num_classes):
            chosen = self.options(arch)
            linear = nn.Linear(16, chosen["width"])
            nn.init.xavier_uniform_(linear.weight, gain=chosen["gain"])
            drop = nn.Dropout(chosen["rate"])
            return nn.Sequential(
                nn.Flatten(), linear, drop, nn.Linear(chosen["width"], num_classes)
            )

    class Merged(Initialised):
        key = Space.key

    rows = Initialised().iterate()
    assert len(set(Initialised().keys(rows))) == 8
    # The rate of dropout shows, the gain does not.
    assert len({graph.key() for graph in Initialised().graphs(rows)}) == 4
    assert len(set(Merged().keys(rows))) == 4


def test_keys_of_graphs_tell_operations_apart_that_encodings_do_not():
    """Widths that three choices make together are beyond a survey of pairs."""

    class Products(DeclaredSpace):
        choices = {"a": (2, 3, 5, 7), "b": (1, 11, 13, 17), "c": (1, 19, 23, 29, 31)}
        example_shape = SHAPE
        key = Space.key

        def build(self, arch, input_shape, num_classes):
            width = math.prod(self.options(arch).values())
            return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.LazyLinear(num_classes))

    space = Products()
    rows = space.iterate()
    assert len({graph.key() for graph in space.graphs(rows)}) < len(rows) == 80
    assert len(set(space.keys(rows))) == 80


def test_a_large_space_is_surveyed_not_enumerated():
    class Large(DeclaredSpace):
        choices = {f"layer_{number}": (1, 2, 3, 4) for number in range(8)}
        example_shape = SHAPE

        def build(self, arch, input_shape, num_classes):
            chosen = self.options(arch)
            layers = [nn.LazyLinear(width) for width in chosen.values() if width > 1]
            return nn.Sequential(nn.Flatten(), *layers, nn.LazyLinear(num_classes))

    space = Large()
    assert space.operations == (
        *("linear/10", "linear/2", "linear/3", "linear/4", "other", "skip_connect", "none"),
    )
    assert 16 <= len(space._traces) <= 40
    # The largest network has all layers, which hardly one of those has by chance.
    assert space.graph((1,) * 8).num_nodes == 8 + 3
    assert space.graph((0,) * 8).num_nodes == 8 + 3


def test_an_operation_that_the_survey_has_not_seen_is_another():
    class Rare(DeclaredSpace):
        choices = {f"flag_{number}": (False, True) for number in range(12)}
        example_shape = SHAPE

        def build(self, arch, input_shape, num_classes):
            rare = [nn.Hardswish()] if all(self.options(arch).values()) else [nn.ReLU()]
            return nn.Sequential(nn.Flatten(), nn.LazyLinear(4), *rare, nn.LazyLinear(num_classes))

    space = Rare()
    assert "hardswish" not in space.operations
    assert space.graph((1,) * 12).operations.count("other") == 1


def test_a_graph_by_hand_needs_no_trace():
    class ByHand(Chains):
        operations = ("layer",)

        def graph(self, arch):
            layers = self.options(arch)["layers"]
            nodes = ("input", *["layer"] * layers, "output")
            return ArchGraph(nodes, [(node, node + 1) for node in range(layers + 1)])

    space = ByHand()
    assert space.graph((1, 0, 0, 0)).operations == ("input", "layer", "layer", "output")
    assert space.operations == ("layer",)

    class Merged(ByHand):
        key = Space.key

    merged = Merged()
    # As many layers are the same by this graph, whatever their widths.
    assert merged.key((1, 0, 0, 0)) == merged.key((1, 1, 1, 0)) != merged.key((0, 0, 0, 0))
    assert space._traces == merged._traces == {}


def by_hand(graph_body):
    class ByHand(Chains):
        name = "by-hand"
        operations = ("layer", "none")

        def graph(self, arch):
            return graph_body(self, arch)

    return ByHand()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            lambda *_: ArchGraph(
                ("input", "layer", "layer", "output"), ((0, 1), (1, 2), (2, 1), (2, 3))
            ),
            "by-hand, 1,4,4,4: expected .* cycle",
        ),
        (
            lambda *_: ArchGraph(("input", "layer", "pool", "output"), ((0, 1), (1, 2), (2, 3))),
            "by-hand, 1,4,4,4: expected a graph of the operations layer, none, found pool; "
            "add it to `operations`",
        ),
        (
            lambda *_: ArchGraph(("input", "layer", "output"), ((0, 1),)),
            "by-hand, 1,4,4,4: expected a graph with a path from input to output, found none; "
            "add the edges that are missing, or let is_valid refuse it",
        ),
        (
            lambda *_: ArchGraph(("input", "layer", "none", "output"), ((0, 1), (1, 2), (2, 3))),
            "by-hand, 1,4,4,4: expected a graph with a path from input to output, found none",
        ),
        (
            lambda self, arch: self.options(arch)["width_3"],
            r"by-hand, 1,4,4,4: graph failed with KeyError: 'width_3' "
            r"\(test_declared.py, line \d+\)",
        ),
        (
            lambda *_: {"operations": ()},
            "by-hand, 1,4,4,4: expected an encoders.ArchGraph from graph, found dict; return the",
        ),
    ],
)
def test_a_wrong_graph_by_hand_is_told_with_its_architecture(graph, message):
    space = by_hand(graph)
    for ask in (lambda: space.graph((0, 0, 0, 0)), lambda: space.graph_batch([(0, 0, 0, 0)])):
        with pytest.raises(InputError, match=f"^{message}") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_graph_by_hand_is_of_an_architecture_of_the_space():
    def graph(space, arch):
        assert arch == (0, 0, 0, 0)
        return ArchGraph(("input", "layer", "output"), ((0, 1), (1, 2)))

    space = by_hand(graph)
    assert space.graph(np.zeros(4, dtype=np.int64)).num_nodes == 3
    with pytest.raises(InputError, match="is it of another space than by-hand"):
        space.graph((9, 0, 0, 0))


def test_lack_of_memory_in_a_graph_by_hand_is_left_to_be_told_as_such():
    def graph(*_):
        raise MemoryError("nothing is left")

    with pytest.raises(MemoryError, match="nothing is left"):
        by_hand(graph).graph((0, 0, 0, 0))


def test_networks_come_untouched_by_their_trial(chains):
    network = chains.build((2, 0, 1, 0), SHAPE, 5)
    assert [tuple(p.shape) for p in network.parameters()][:2] == [(4, 16), (4,)]
    assert all(module.training for module in network.modules())

    class Normalised(Chains):
        def build(self, arch, input_shape, num_classes):
            frozen = nn.BatchNorm2d(1).eval()
            return nn.Sequential(
                nn.BatchNorm2d(1), frozen, nn.Flatten(), nn.Linear(16, num_classes)
            )

    network = Normalised().build((0, 0, 0, 0), SHAPE, 5)
    assert [module.training for module in network] == [True, False, True, True]
    assert network[0].num_batches_tracked == 0
    assert torch.equal(network[0].running_mean, torch.zeros(1))


def failing(build_body):
    class Failing(Chains):
        name = "failing"

        def build(self, arch, input_shape, num_classes):
            return build_body(self, arch, input_shape, num_classes)

    return Failing()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda self, arch, *_: self.options(arch)["width_3"],
            r"failing: 1,4,4,4 failed with KeyError: 'width_3' \(test_declared.py, line \d+\)",
        ),
        (
            lambda *_: nn.Linear(5, 3),
            r"failed with RuntimeError: mat1 and mat2 shapes cannot be multiplied",
        ),
        (
            lambda *_: nn.Sequential(nn.Flatten(), nn.Linear(16, 7)),
            r"1,4,4,4 gives outputs of shape \(2, 7\) for 2 images, where \(2, 5\) is expected",
        ),
    ],
)
def test_a_network_that_fails_is_a_failed_candidate(build, message):
    space = failing(build)
    with pytest.raises(CandidateError, match=message) as caught:
        space.build((0, 0, 0, 0), SHAPE, 5)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"on images of example_shape .*; let is_valid refuse it"):
        space.graph((0, 0, 0, 0))


def test_what_is_no_network_is_refused():
    with pytest.raises(InputError, match="expected a torch.nn.Module from build, found NoneType"):
        failing(lambda *_: None).build((0, 0, 0, 0), SHAPE, 5)


def test_lacking_memory_is_left_to_be_told_as_such():
    def build(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")

    with pytest.raises(RuntimeError, match="^DefaultCPUAllocator"):
        failing(build).build((0, 0, 0, 0), SHAPE, 5)


def test_an_argument_called_memory_is_no_lack_of_it():
    def build(*_):
        return nn.Sequential(nn.Flatten(), nn.TransformerDecoderLayer(16, 2))

    with pytest.raises(CandidateError, match="failed with .*'memory'"):
        failing(build).build((0, 0, 0, 0), SHAPE, 5)


def test_networks_that_cannot_be_traced_are_told_with_their_architecture():
    class Undecided(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(16, 10)

        def forward(self, x):
            return self.head(x.flatten(1)) * (2 if x.sum() > 0 else 1)

    space = failing(lambda *_: Undecided())
    with pytest.raises(InputError, match=r"^failing, 1,4,4,4: .* in Undecided: .* by hand"):
        space.graph((0, 0, 0, 0))


def test_a_network_that_does_not_see_its_input_has_no_graph():
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(10))

        def forward(self, x):
            return self.bias.expand(x.shape[0], 10) + 0 * x.flatten(1)[:, :10]

    space = failing(lambda *_: Blind())
    message = (
        "^failing, 1,4,4,4: expected a network whose output depends on its input, found no path "
        "between them in its graph; let is_valid refuse it"
    )
    with pytest.raises(InputError, match=message):
        space.graph((0, 0, 0, 0))


def test_combinations_may_be_refused():
    class Even(Chains):
        def is_valid(self, archs):
            rows = np.asarray(archs)
            return super().is_valid(archs) & (rows.sum(axis=1) % 2 == 0)

    space = Even()
    assert not space.is_product
    assert (space.sample(50, np.random.default_rng(0)).sum(axis=1) % 2 == 0).all()
    assert space.graph(space.iterate()[0]).num_nodes == 9


def test_declarations_are_checked_when_the_class_is_made():
    with pytest.raises(InputError, match="Wrong: expected the options of width as a tuple"):
        type("Wrong", (DeclaredSpace,), {"choices": {"width": 3}})
    with pytest.raises(InputError, match="Wrong: expected a_choice to depend on choices"):
        type(
            "Wrong",
            (DeclaredSpace,),
            {"choices": {"a_choice": (1, 2)}, "conditions": {"a_choice": {"b": (1,)}}},
        )
    with pytest.raises(InputError, match="Wrong: expected choices beside build, found none"):
        type("Wrong", (DeclaredSpace,), {"build": lambda *_: None})
    with pytest.raises(InputError, match="expected the name of a space as letters"):
        type("Wrong", (DeclaredSpace,), {"name": "a b"})


def test_there_is_no_source_unless_the_class_defines_it(chains):
    with pytest.raises(InputError, match="Chains has no Python source that needs torch alone"):
        chains.network_source((0, 0, 0, 0), SHAPE, 5)
