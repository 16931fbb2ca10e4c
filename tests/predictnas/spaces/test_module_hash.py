"""The hash of arrays of cells against its definition, one cell and one vertex at a time."""

from hashlib import md5
from itertools import permutations

import numpy as np
import pytest

from predictnas.spaces.module_hash import module_hashes


def digest(text):
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def defined(matrix, labels):
    """Compute the hash of one cell from the definition."""
    count = len(matrix)
    before = [[u for u in range(count) if matrix[u][v]] for v in range(count)]
    after = [[w for w in range(count) if matrix[v][w]] for v in range(count)]
    names = [-1, *labels, -2]
    hashes = [digest(f"({len(after[v])}, {len(before[v])}, {names[v]})") for v in range(count)]
    for _ in range(count):
        hashes = [
            digest(
                "".join(sorted(hashes[u] for u in before[v]))
                + "|"
                + "".join(sorted(hashes[w] for w in after[v]))
                + "|"
                + hashes[v]
            )
            for v in range(count)
        ]
    return digest(str(sorted(hashes)))


def drawn(rng, cells, vertices):
    matrices = np.triu(rng.random((cells, vertices, vertices)) < 0.5, k=1)
    return matrices, rng.integers(0, 3, (cells, vertices - 2))


@pytest.mark.parametrize("vertices", [2, 3, 5, 7])
def test_it_is_the_definition(vertices):
    # More cells than are taken at once.
    matrices, labels = drawn(np.random.default_rng(vertices), 300, vertices)
    expected = [
        defined(matrix, names)
        for matrix, names in zip(matrices.tolist(), labels.tolist(), strict=True)
    ]
    assert module_hashes(matrices, labels) == expected
    assert module_hashes(matrices[:0], labels[:0]) == []


def test_isomorphic_cells_are_equal_and_an_edge_or_a_label_makes_a_difference():
    rng = np.random.default_rng(0)
    matrices, labels = drawn(rng, 20, 7)
    found = module_hashes(matrices, labels)
    for order in list(permutations(range(1, 6)))[::17]:
        kept = [0, *order, 6]
        renumbered = matrices[:, kept][:, :, kept], labels[:, np.array(order) - 1]
        assert module_hashes(*renumbered) == found
    other_edge, other_label = matrices.copy(), labels.copy()
    other_edge[:, 2, 4] ^= True
    other_label[:, 3] = (other_label[:, 3] + 1) % 3
    for others in (module_hashes(other_edge, labels), module_hashes(matrices, other_label)):
        assert all(one != other for one, other in zip(found, others, strict=True))
