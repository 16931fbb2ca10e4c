import numpy as np
from numpy.typing import NDArray

from predictnas.search.candidates import local_search, mutants, unseen
from predictnas.spaces import Space

Archs = NDArray[np.int64]


def value(archs: Archs) -> NDArray[np.float64]:
    """One peak, reached by changing one choice after the other."""
    return -np.abs(archs - np.array([3, 1, 4, 2, 0, 3])).sum(1).astype(float)


class TestUnseen:
    def test_keeps_one_of_each_isomorphism_class(self, space: Space) -> None:
        archs = np.array([[1, 3, 0, 0, 0, 1], [1, 0, 3, 0, 0, 1], [3] * 6])
        assert space.key(archs[0]) == space.key(archs[1])
        np.testing.assert_array_equal(unseen(space, archs, ()), archs[[0, 2]])

    def test_leaves_out_what_is_known(self, space: Space) -> None:
        archs = np.array([[3] * 6, [2] * 6])
        np.testing.assert_array_equal(unseen(space, archs, {space.key(archs[0])}), archs[[1]])


class TestMutants:
    def test_every_mutant_is_one_to_max_edits_away_from_a_parent(self, space: Space) -> None:
        """The mistake in other implementations: the k-th mutant was k edits from the parent."""
        parents = space.sample(3, np.random.default_rng(0))
        children = mutants(space, parents, 500, 2, np.random.default_rng(1))
        distance = (children[:, None] != parents[None]).sum(2).min(1)
        assert set(distance) <= {1, 2}
        assert 0.3 < (distance == 1).mean() < 0.7

    def test_one_edit(self, space: Space) -> None:
        parent = np.array([[3] * 6])
        children = mutants(space, parent, 200, 1, np.random.default_rng(0))
        assert set((children != parent).sum(1)) == {1}


class TestLocalSearch:
    def test_climbs_to_the_peak(self, space: Space) -> None:
        starts = space.sample(3, np.random.default_rng(0))
        archs, values = local_search(space, value, starts, (), budget=2000)
        assert values[0] == 0
        np.testing.assert_array_equal(archs[0], [3, 1, 4, 2, 0, 3])
        np.testing.assert_array_equal(values, value(archs))
        assert (np.diff(values) <= 0).all()

    def test_evaluates_nothing_twice_and_nothing_known(self, space: Space) -> None:
        peak = np.array([3, 1, 4, 2, 0, 3])
        calls: list[Archs] = []

        def counting(archs: Archs) -> NDArray[np.float64]:
            calls.append(archs)
            return value(archs)

        starts = space.sample(4, np.random.default_rng(0))
        archs, _ = local_search(space, counting, starts, {space.key(peak)}, budget=2000)
        seen = space.keys(np.concatenate(calls))
        assert len(seen) == len(set(seen)) == len(archs)
        assert space.key(peak) not in seen

    def test_keeps_to_the_budget(self, space: Space) -> None:
        starts = space.sample(4, np.random.default_rng(0))
        for budget in (0, 1, 7, 30):
            archs, _ = local_search(space, value, starts, (), budget=budget)
            assert len(archs) <= 4 + budget
            assert budget > 1 or len(archs) == 4 + budget

    def test_evaluates_in_batches(self, space: Space) -> None:
        sizes = []

        def counting(archs: Archs) -> NDArray[np.float64]:
            sizes.append(len(archs))
            return value(archs)

        local_search(
            space, counting, space.sample(5, np.random.default_rng(0)), (), budget=200, width=5
        )
        assert max(sizes) > 50
