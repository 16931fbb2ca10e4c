"""What holds for every space, registered or a user's own, and the defaults of the base class."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from optuna.trial import FixedTrial

from encoders import ENCODERS, ArchGraph, GraphBatch
from predictnas.errors import InputError
from predictnas.predictors.features import GraphEncodings
from predictnas.spaces import (
    SPACES,
    DeclaredSpace,
    GrammarSpace,
    Space,
    get_space,
    load_space,
)

SHAPE = (2, 9, 8)
CLASSES = 3
OWN = f"{Path(__file__).with_name('own_space.py')}:SmallNets"

# How many mutants show every choice changed, where 500 do not.
MANY = {"hierarchical": 10_000}  # a derivation seldom comes to the deepest choices
# What is trained is trained for a moment.
QUICK = {"embedding": {"steps": 3}}


@pytest.fixture(params=[*SPACES, OWN], ids=[*SPACES, "own"])
def address(request):
    """Return what a user calls the space."""
    return request.param


@pytest.fixture
def space(address):
    return load_space(address)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def scale(space):
    """Return the smallest network's scale."""
    return {name: min(value, 2) for name, value in space.default_scale.items()}


def distances(space, rows, base):
    """Return how many edits lead from `base` to every row: choices in which they differ."""
    if isinstance(space, GrammarSpace):
        # One edit re-derives a whole subtree, which may change several choices: its own tests
        # compare that with terms in text.
        return space.distances(rows, base)
    return (rows != np.asarray(base)).sum(axis=1)


# Every space


def test_it_declares_what_it_is(space, address):
    assert address == OWN or SPACES[space.name] is type(space)
    assert (space.name == "small-nets") == (address == OWN)
    assert isinstance(space, Space)
    assert all(len(set(options)) == len(options) >= 1 for options in space.choices.values())
    assert not {"input", "output"} & set(space.operations)
    assert all(type(value) is int and value >= 1 for value in space.default_scale.values())
    assert type(space).__doc__


def test_samples_are_valid_rows_of_int64_and_follow_the_generator(space, rng):
    rows = space.sample(200, rng)
    assert rows.dtype == np.int64
    assert rows.shape == (200, len(space.choices))
    assert space.is_valid(rows).all()
    np.testing.assert_array_equal(rows, space.sample(200, np.random.default_rng(0)))
    assert (rows != space.sample(200, np.random.default_rng(1))).any()
    assert space.sample(0, rng).shape == (0, len(space.choices))


def test_distinct_samples_have_distinct_keys(space, rng):
    rows = space.sample(100, rng, distinct=True)
    assert space.is_valid(rows).all()
    assert len(set(space.keys(rows))) == 100
    again = space.sample(100, np.random.default_rng(0), distinct=True)
    np.testing.assert_array_equal(rows, again)
    assert space.sample(0, rng, distinct=True).shape == (0, len(space.choices))


def test_a_negative_number_of_samples_is_refused(space, rng):
    with pytest.raises(InputError, match="at least 0 architectures, found -1"):
        space.sample(-1, rng)


def test_rows_out_of_range_are_not_valid(space, rng):
    rows = space.sample(3, rng)
    rows[0, 0] = len(next(iter(space.choices.values())))
    rows[1, -1] = -1
    assert space.is_valid(rows).tolist() == [False, False, True]
    with pytest.raises(InputError, match=r"option indices below .* in row 0; is it of another"):
        space.validate(rows)
    assert space.is_valid([]).shape == (0,)


@pytest.mark.parametrize(
    "archs", [[[0]], [0, 1], [[0.5] * 6], [["a"] * 6], 3, [[0], [0, 1]], [[True] * 6], [[]]]
)
def test_what_is_no_table_of_integers_is_refused(space, archs):
    with pytest.raises(InputError, match="give one option index for every choice of"):
        space.validate(archs)


def test_neighbors_are_all_architectures_one_choice_away(space, rng):
    for arch in space.sample(5, rng):
        rows = space.neighbors(arch)
        assert (distances(space, rows, arch) == 1).all()
        assert len({tuple(row) for row in rows.tolist()}) == len(rows)
        assert space.is_valid(rows).all()
        assert rows.dtype == np.int64
        near = space.mutate(np.tile(arch, (300, 1)), rng)
        assert {tuple(row) for row in near.tolist()} <= {tuple(row) for row in rows.tolist()}


@pytest.mark.parametrize("edits", [1, 2, 3])
def test_mutants_differ_in_exactly_so_many_choices(space, rng, edits):
    rows = space.sample(MANY.get(space.name, 500), rng)
    before = rows.copy()
    mutants = space.mutate(rows, np.random.default_rng(1), edits=edits)
    np.testing.assert_array_equal(rows, before)
    assert space.is_valid(mutants).all()
    assert (distances(space, mutants, rows) == edits).all()
    assert (mutants != rows).any(axis=0).all()
    again = space.mutate(rows, np.random.default_rng(1), edits=edits)
    np.testing.assert_array_equal(mutants, again)


@pytest.mark.parametrize("edits", [0, 1000])
def test_a_number_of_edits_that_cannot_be_is_refused(space, rng, edits):
    with pytest.raises(InputError, match=rf"expected from 1 to \d+ edits, found {edits}"):
        space.mutate(space.sample(1, rng), rng, edits=edits)


def test_text_comes_back_as_the_same_architecture(space, rng):
    rows = space.sample(100, rng)
    texts = space.format_all(rows)
    assert all("\n" not in text for text in texts)
    np.testing.assert_array_equal(space.parse_all(texts), rows)
    arch = space.parse(texts[0])
    assert arch == tuple(rows[0].tolist())
    assert all(type(option) is int for option in arch)
    assert space.format(arch) == texts[0]
    assert space.parse_all([]).shape == (0, len(space.choices))


def test_malformed_text_is_refused_with_its_position_and_number(space, rng):
    text = space.format(space.sample(1, rng)[0])
    for wrong in ("", "nonsense", text + "x", text[:-3], "x" + text):
        with pytest.raises(
            InputError, match=r"architecture 2: expected .* character \d+"
        ) as caught:
            space.parse_all([text, wrong])
        assert "\n" not in str(caught.value)


def test_params_come_back_as_the_same_architecture(space, rng):
    for row in space.sample(20, rng):
        params = space.params(row)
        assert list(params) == list(space.choices)
        assert all(params[name] in options for name, options in space.choices.items())
        assert space.from_params(json.loads(json.dumps(params))) == tuple(row.tolist())


def test_params_of_another_space_are_refused(space, rng):
    params = space.params(space.sample(1, rng)[0])
    first = next(iter(params))
    with pytest.raises(InputError, match=f"expected for {first} one of .*, found 'x'"):
        space.from_params({**params, first: "x"})
    with pytest.raises(InputError, match=r"expected the choices .*, other; is this of another"):
        space.from_params({**params, "other": "x"})
    with pytest.raises(
        InputError, match=r"expected the choices .*, found none; is this of another"
    ):
        space.from_params({})


def test_suggest_asks_a_trial_for_every_choice(space, rng):
    arch = tuple(space.sample(1, rng)[0].tolist())
    assert space.suggest(FixedTrial(space.params(arch))) == arch


def test_distributions_are_what_suggest_asks_for(space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = space.sample(1, np.random.default_rng(0))[0]
    study.enqueue_trial(space.params(drawn))
    trial = study.ask()
    arch = space.suggest(trial)
    assert arch == tuple(drawn.tolist())
    assert trial.distributions == space.distributions()
    assert space.params(arch) == trial.params
    for name, distribution in space.distributions().items():
        assert isinstance(distribution, CategoricalDistribution)
        assert distribution.choices == tuple(space.choices[name])
    fixed = study.ask(fixed_distributions=space.distributions())
    if space.is_product:
        assert space.is_valid([space.from_params(fixed.params)]).all()


def test_arrays_of_graphs_are_those_of_the_graphs_one_by_one(space, rng):
    rows = space.sample(5, rng)
    graphs = [space.graph(row) for row in rows]
    assert space.graphs(rows) == graphs
    batch = space.graph_batch(rows)
    expected = GraphBatch.of(graphs, space.operations)
    # Where it is made without graphs, a batch may have more positions than its graphs need.
    batch = GraphBatch(batch.operations, batch.codes, batch.adjacency).recoded(space.operations)
    size = batch.codes.shape[1]
    np.testing.assert_array_equal(batch.codes, expected.fitted_to(size).codes)
    np.testing.assert_array_equal(batch.adjacency, expected.fitted_to(size).adjacency)


def test_graphs_carry_declared_operations_and_equal_graphs_have_equal_keys(space, rng):
    rows = space.sample(50, rng)
    graphs = space.graphs(rows)
    assert all(isinstance(graph, ArchGraph) for graph in graphs)
    assert set().union(*(graph.operations for graph in graphs)) <= {
        "input",
        "output",
        *space.operations,
    }
    assert graphs == [space.graph(tuple(row)) for row in rows.tolist()]
    keys = space.keys(rows)
    assert keys == [space.key(row) for row in rows]
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)


@functools.cache
def drawn(address):
    """Return a space with twenty of its graphs and some more, which take long to trace."""
    space = load_space(address)
    count = 40 if isinstance(space, DeclaredSpace) else 80
    graphs = space.graphs(space.sample(count, np.random.default_rng(0)))
    return space, tuple(graphs[:20]), graphs[20:]


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_tells_apart_architectures_that_it_has_not_seen(address, name, rng):
    space, seen, others = drawn(address)
    # As predictors have it, for which a search comes to larger graphs than they have learned from.
    encoder = GraphEncodings((name,), space.operations, seen)._made(name)
    encoder.set_params(**QUICK.get(name, {})).fit(seen)
    rows = encoder.transform(others)
    assert np.isfinite(rows).all()
    distinct = len({graph.canonical() for graph in others})
    assert len(np.unique(rows, axis=0)) > distinct / 2 > 5
    if encoder.canonical or encoder.invariant:
        moved = [graph.relabelled(rng.permutation(graph.num_nodes).tolist()) for graph in others]
        np.testing.assert_array_equal(encoder.transform(moved), rows)


def test_keys_are_the_same_in_another_process(space, address):
    code = (
        "import numpy as np; from predictnas.spaces import load_space; "
        f"space = load_space({address!r}); "
        "print(*space.keys(space.sample(5, np.random.default_rng(7))))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": "3"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed.split() == space.keys(space.sample(5, np.random.default_rng(7)))


def test_networks_map_images_to_logits_and_pass_gradients(space, scale, rng):
    for arch in space.sample(4, rng):
        network = space.build(arch, SHAPE, CLASSES, **scale)
        logits = network(torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (5, CLASSES)
        assert torch.isfinite(logits).all()
        logits.sum().backward()


def test_the_same_torch_seed_builds_the_same_weights(space, scale, rng):
    arch = space.sample(1, rng)[0]
    states = []
    for seed in (1, 1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            states.append(space.build(arch, SHAPE, CLASSES, **scale).state_dict())
    one, same, other = states
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_building_with_a_scale_it_does_not_have_is_refused(space, rng):
    arch = space.sample(1, rng)[0]
    with pytest.raises(InputError, match=r"expected a scale among .*, found breadth; remove"):
        space.build(arch, SHAPE, CLASSES, breadth=2)
    for name in space.default_scale:
        for value in (0, 1.5, True, "8"):
            with pytest.raises(InputError, match=f"expected {name} as a whole number of at least"):
                space.build(arch, SHAPE, CLASSES, **{name: value})


def test_building_for_images_or_classes_that_cannot_be_is_refused(space, scale, rng):
    arch = space.sample(1, rng)[0]
    # What a user's networks can do with images of three pixels is theirs to say.
    narrow = () if isinstance(space, DeclaredSpace) else ((1, 8, 3),)
    for shape in ((8, 8), (0, 8, 8), (1.0, 8, 8), *narrow):
        with pytest.raises(InputError, match="images of shape"):
            space.build(arch, shape, CLASSES, **scale)
    with pytest.raises(InputError, match="at least one class, found 0"):
        space.build(arch, SHAPE, 0, **scale)


def test_the_source_alone_builds_a_network_that_computes_the_same(space, scale, rng):
    if isinstance(space, DeclaredSpace):
        pytest.skip("users may leave the source out; what then happens is tested with exports")
    images = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    for arch in space.sample(3, rng):
        network = space.build(arch, SHAPE, CLASSES, **scale).eval()
        source = space.network_source(arch, SHAPE, CLASSES, **scale)
        imported = [line for line in source.splitlines() if line.startswith(("import", "from"))]
        assert {line.split()[1].split(".")[0] for line in imported} <= {
            "torch",
            *sys.stdlib_module_names,
        }
        namespace = {"__name__": "exported"}
        exec(compile(source, "exported.py", "exec"), namespace)
        assert "build_network" in namespace["__all__"]
        exported = namespace["build_network"]().eval()
        assert {k: v.shape for k, v in exported.state_dict().items()} == {
            k: v.shape for k, v in network.state_dict().items()
        }
        exported.load_state_dict(network.state_dict())
        assert torch.equal(exported(images), network(images))


def test_an_unknown_space_is_refused_with_the_choices():
    with pytest.raises(InputError, match=r"unknown space 'nasbench'; choose from: nasbench201"):
        get_space("nasbench")


# The defaults of the base class


class Chains(Space):
    """Chains of operations; a toy."""

    name = "chains"
    operations = ("a", "b", "skip_connect")

    def __init__(self, length=3, options=("a", "b", "skip_connect")):
        self.choices = {f"place {i}": options for i in range(length)} | {"fixed": ("only",)}

    def graph(self, arch):
        options = list(self.params(arch).values())[:-1]
        edges = [(node, node + 1) for node in range(len(options) + 1)]
        return ArchGraph(("input", *options, "output"), edges)

    def build(self, arch, input_shape, num_classes, **scale):
        raise NotImplementedError

    def network_source(self, arch, input_shape, num_classes, **scale):
        raise NotImplementedError


class EvenChains(Chains):
    """Chains whose option indices have an even sum: not every combination is valid."""

    def is_valid(self, archs):
        rows = np.asarray(archs)
        return super().is_valid(archs) & (rows.sum(axis=1) % 2 == 0)


def test_the_default_key_is_that_of_the_graph():
    space = Chains()
    everything = space.iterate()
    assert space.size == len(everything) == 27
    assert everything[:4].tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 2, 0], [0, 1, 0, 0]]
    # Chains of 0 to 3 operations out of two: 1 + 2 + 4 + 8.
    assert len(set(space.keys(everything))) == 15
    assert space.key((0, 2, 1, 0)) == space.key((2, 0, 1, 0)) == space.graph((0, 1, 2, 0)).key()


def test_the_default_text_is_the_options_with_commas():
    space = Chains()
    assert space.format((0, 2, 1, 0)) == "a,skip_connect,b,only"
    assert space.parse("a,skip_connect,b,only") == (0, 2, 1, 0)
    with pytest.raises(InputError, match=r"for place 2 one of a, b, .* at character 5, found 'x'"):
        space.parse("a,b,x,only")
    with pytest.raises(InputError, match="expected 4 options, found 2 before character 4"):
        space.parse("a,b")


def test_all_distinct_architectures_can_be_drawn_and_no_more(rng):
    space = Chains()
    assert len(set(space.keys(space.sample(15, rng, distinct=True)))) == 15
    with pytest.raises(InputError, match="expected 16 distinct architectures, found 15 in chains"):
        space.sample(16, rng, distinct=True)


def test_a_space_too_large_to_enumerate_can_still_be_drawn_from(rng):
    space = Chains(length=40)
    assert space.size == 3**40
    assert len(set(space.keys(space.sample(50, rng, distinct=True)))) == 50
    with pytest.raises(InputError, match="at most 1,048,576 architectures to enumerate, found 12,"):
        space.iterate()
    identical = Chains(length=21, options=("skip_connect", "skip_connect"))
    with pytest.raises(InputError, match="expected 2 distinct architectures, found 1 in chains"):
        identical.sample(2, rng, distinct=True)


def test_everything_keeps_to_the_valid_architectures(rng):
    space = EvenChains()
    everything = space.iterate()
    assert len(everything) == 14
    rows = space.sample(300, rng)
    assert {tuple(row) for row in rows.tolist()} == {tuple(row) for row in everything.tolist()}
    mutants = space.mutate(rows, rng)
    assert space.is_valid(mutants).all()
    assert ((mutants != rows).sum(axis=1) == 1).all()
    assert space.neighbors((0, 0, 0, 0)).tolist() == [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]]
    with pytest.raises(InputError, match=r"found options \[0, 0, 1, 0\] in row 0, which do not go"):
        space.validate([(0, 0, 1, 0)])


def test_a_space_with_hardly_any_valid_architecture_says_so(rng):
    class Impossible(Chains):
        def is_valid(self, archs):
            return np.zeros(len(archs), dtype=bool)

    with pytest.raises(InputError, match="found hardly any valid combination"):
        Impossible().sample(3, rng)


def test_a_choice_with_one_option_is_never_mutated(rng):
    space = Chains()
    mutants = space.mutate(np.zeros((200, 4), dtype=np.int64), rng, edits=3)
    assert (mutants[:, :3] > 0).all()
    assert (mutants[:, 3] == 0).all()
    with pytest.raises(InputError, match="expected from 1 to 3 edits, found 4; chains has 3"):
        space.mutate(mutants, rng, edits=4)


def test_mutations_are_uniform_over_positions_and_other_options(rng):
    space = Chains()
    base = np.tile([0, 1, 2, 0], (6000, 1))
    mutants = space.mutate(base, rng)
    outcomes, counts = np.unique(mutants, axis=0, return_counts=True)
    assert len(outcomes) == 6
    # Binomial with n = 6000, p = 1/6: standard deviation 29.
    assert (abs(counts - 1000) < 5 * 29).all()
