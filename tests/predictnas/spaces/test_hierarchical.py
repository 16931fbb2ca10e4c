import re
from math import prod
from types import MappingProxyType

import numpy as np
import optuna
import pytest

from encoders import ENCODERS, ArchGraph
from predictnas.errors import InputError
from predictnas.search import SEARCHERS
from predictnas.spaces import Grammar, Hierarchical, get_space

SPACE = Hierarchical()
PLAINEST = (
    "Sequential3(Sequential2(Sequential2(conv3x3, conv3x3), down), "
    "Sequential2(Sequential2(conv3x3, conv3x3), down), Sequential2(conv3x3, conv3x3))"
)
# A residual stage of identities and a cell, a diamond before a reduction, a residual reduction.
MIXED = (
    "Sequential3("
    "Residual2(Sequential2(id, id), Cell(conv3x3, zero, id, conv1x1, zero, avg_pool), id), "
    "Sequential3(Sequential3(id, id, id), Diamond2(id, conv3x3, id, id), down), "
    "Residual2(Residual2(dconv3x3, id, id), down, down))"
)

FACTORS = {"conv3x3": 2, "conv1x1": 3, "dconv3x3": 5, "avg_pool": 7, "down": 11, "id": 1, "zero": 0}


def largest(**options):
    """Return the architecture that takes these alternatives of nonterminals everywhere."""
    kinds = {name: name.split(".")[-1].split("_")[0] for name in SPACE.choices}
    return SPACE.from_params(
        {name: SPACE.choices[name][options[kind]] for name, kind in kinds.items()}
    )


def value_of_term(term):
    """Return the product of a term whose operations multiply by a number each."""
    if not term.arguments:
        return FACTORS[term.name]
    a, b, *more = map(value_of_term, term.arguments)
    if term.name.startswith("Sequential"):
        return a * b * prod(more)
    if term.name == "Residual2":
        return a * b + more[0]
    if term.name == "Diamond2":
        return a * more[0] + b * more[1]
    assert term.name == "Cell"
    c, d, e, f = more
    return d + a * e + (b + a * c) * f


def value_of_graph(graph):
    """Return the same from the composed graph."""
    values = {}
    for node in graph.topological_order():
        total = sum(values[source] for source in graph.predecessors[node])
        operation = graph.operations[node]
        values[node] = 1 if operation == "input" else total * FACTORS.get(operation, 1)
    return values[graph.topological_order()[-1]]


def test_it_is_as_large_as_counted_by_hand():
    operation, shortcut = 5, 6
    block = 2 * operation**3 + operation**2 + operation**4 + operation**3 * shortcut**3
    down = block + block**2 + block
    stage = block + 2 * block**2
    assert SPACE.size == 2 * down**2 * stage + down**2 * stage**2
    # There is a choice for a network, four stages, eight blocks and seven operations of each.
    assert len(SPACE.choices) == 1 + 4 + 8 + 8 * 7


def test_the_first_alternatives_are_a_plain_network():
    assert SPACE.format((0,) * 69) == PLAINEST
    graph = SPACE.graph((0,) * 69)
    chain = ["conv3x3", "conv3x3", "down", "conv3x3", "conv3x3", "down", "conv3x3", "conv3x3"]
    assert graph == ArchGraph(("input", *chain, "output"), [(i, i + 1) for i in range(9)])


def test_the_graph_has_motifs_in_the_place_of_edges():
    assert SPACE.graph(SPACE.parse(MIXED)) == ArchGraph(
        (
            "input",
            # The cell: 0->1 is a convolution, 0->2 zero, 1->2 the identity, 0->3 a convolution.
            "conv3x3",
            "conv1x1",
            "avg_pool",
            "add",
            # The residual stage.
            "add",
            # Three identities, and a diamond with one convolution.
            "conv3x3",
            "add",
            "down",
            # The residual reduction of a residual block.
            "dconv3x3",
            "add",
            "down",
            "down",
            "add",
            "output",
        ),
        (
            *[(0, 1), (0, 2), (1, 3), (2, 4), (3, 4), (0, 5), (4, 5)],
            *[(5, 6), (5, 7), (6, 7), (7, 8)],
            *[(8, 9), (8, 10), (9, 10), (10, 11), (8, 12), (11, 13), (12, 13), (13, 14)],
        ),
    )


def test_the_graph_computes_what_the_term_says():
    rows = SPACE.sample(300, np.random.default_rng(0))
    for row, graph in zip(rows, SPACE.graphs(rows), strict=True):
        term = SPACE.grammar.term(SPACE.grammar.parse(SPACE.format(row)))
        expected = value_of_term(term)
        assert value_of_graph(graph) == value_of_graph(graph.canonical()) == expected > 0


def test_isomorphic_networks_have_the_same_key():
    diamond = PLAINEST.replace("Sequential2(conv3x3, conv3x3), down)", "Diamond2({}), down)", 1)
    one, other, different = (
        SPACE.key(SPACE.parse(diamond.format(arguments)))
        for arguments in (
            "conv3x3, id, avg_pool, conv1x1",
            "id, conv3x3, conv1x1, avg_pool",
            "id, conv3x3, avg_pool, conv1x1",
        )
    )
    assert one == other != different
    # An identity is nothing, and a sequence of sequences is one.
    assert SPACE.key((0,) * 69) == SPACE.key(
        SPACE.parse(PLAINEST.replace("Sequential2(conv3x3", "Sequential3(conv3x3, id", 1))
    )


def test_graphs_stay_of_moderate_size():
    # Two pairs of blocks in each of four stages, a block of six operations and two sums; two
    # reductions, two residual paths, input and output.
    options = {"NETWORK": 2, "DOWN": 1, "STAGE": 2, "BLOCK": 4, "OP": 0, "SHORTCUT": 1}
    graph = SPACE.graph(largest(**options))
    assert graph.num_nodes == 8 * (6 + 2) + 2 + 2 + 2 == 70
    sampled = SPACE.graphs(SPACE.sample(300, np.random.default_rng(0)))
    assert max(graph.num_nodes for graph in sampled) <= 70
    # Identities in parallel are sums of their own, so that they cannot double edges at every link.
    doubled = SPACE.graph(largest(**{**options, "OP": 4, "SHORTCUT": 5}))
    assert len(doubled.canonical().edges) == len(doubled.edges) < 100


@pytest.mark.parametrize("name", ["adjacency", "path", "weisfeiler_lehman", "graf"])
def test_architectures_are_encoded_and_told_apart(name):
    graphs = SPACE.graphs(SPACE.sample(40, np.random.default_rng(0)))
    encoded = ENCODERS[name](operations=SPACE.operations).fit_transform(graphs)
    assert encoded.shape[1] <= 20_000
    assert len(np.unique(encoded, axis=0)) == 40


def test_the_position_of_a_wrong_operation_is_given():
    message = (
        "expected conv3x3, conv1x1, dconv3x3, avg_pool or id at character 37, "
        "found 'zero, conv3x3), down'"
    )
    with pytest.raises(InputError, match="^" + re.escape(message)):
        SPACE.parse(PLAINEST.replace("conv3x3", "zero", 1))
    message = "expected down, Sequential2, Sequential3, Residual2, Diamond2 or Cell at character 56"
    with pytest.raises(InputError, match=f"^{message}, found 'zero"):
        SPACE.parse(PLAINEST.replace("down", "zero", 1))


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_samplers_of_optuna_propose_all_choices_themselves(name):
    sampler = SEARCHERS[name](SPACE, seed=0)
    assert type(sampler).__module__.startswith("optuna.")
    study = optuna.create_study(direction="maximize", sampler=sampler)
    found = []

    def convolutions(trial):
        found.append(SPACE.suggest(trial))
        return float(SPACE.format(found[-1]).count("conv3x3"))

    study.optimize(convolutions, n_trials=14)
    assert SPACE.is_valid(found).all()
    assert len(set(found)) == 14


def test_a_grammar_of_ones_own_makes_a_space():
    class Cells(Hierarchical):
        """The cells of NAS-Bench-201, one after the other."""

        name = "cells"
        grammar = Grammar(
            """
            NET  -> Chain(CELL, down, CELL)
            CELL -> Cell(OP, OP, OP, OP, OP, OP)
            OP   -> zero | id | conv1x1 | conv3x3 | avg_pool
            """
        )
        motifs = MappingProxyType({**Hierarchical.motifs, "Chain": ((0, 1), (1, 2), (2, 3))})

    space = Cells()
    assert space.size == 15_625**2
    assert not space.graph((0,) * 15).edges
    arch = space.sample(1, np.random.default_rng(0))[0]
    np.testing.assert_array_equal(space.parse(space.format(arch)), arch)
    parameters = space.build(arch, (1, 8, 8), 3).parameters()
    assert sum(each.numel() for each in parameters) > 0
    assert '"Chain"' in space.network_source(arch, (1, 8, 8), 3).replace("'", '"')


def test_get_space_finds_it():
    assert isinstance(get_space("hierarchical"), Hierarchical)
