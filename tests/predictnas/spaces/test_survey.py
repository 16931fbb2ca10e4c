"""Architectures that show every two options together."""

from itertools import combinations, product

import numpy as np
import pytest

from predictnas.spaces import NasBench201, NatsSize
from predictnas.spaces.survey import covering_architectures


@pytest.mark.parametrize("space", [NasBench201(), NatsSize()])
def test_all_pairs_are_there_in_few_architectures(space):
    everything = range(len(space.choices))
    archs = covering_architectures(space, lambda arch: everything, np.random.default_rng(0))
    counts = [len(options) for options in space.choices.values()]
    for one, other in combinations(everything, 2):
        shown = {(arch[one], arch[other]) for arch in archs}
        assert shown == set(product(range(counts[one]), range(counts[other])))
    # No fewer than the pairs of two choices can do; no more than twice as many.
    least = counts[0] * counts[1]
    assert least <= len(archs) <= 2 * least
    again = covering_architectures(space, lambda arch: everything, np.random.default_rng(0))
    assert again == archs


def test_choices_that_do_not_exist_need_not_be_shown():
    space = NatsSize()
    archs = covering_architectures(space, lambda arch: [0], np.random.default_rng(0))
    assert sorted(arch[0] for arch in archs) == list(range(8))


def test_all_of_a_small_space():
    class Small(NasBench201):
        choices = dict(list(NasBench201.choices.items())[:2])  # noqa: RUF012

    archs = covering_architectures(Small(), lambda arch: [], np.random.default_rng(0))
    assert archs == list(product(range(5), range(5)))
