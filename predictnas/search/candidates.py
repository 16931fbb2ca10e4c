"""Which architectures an acquisition function looks at: mutants and local search."""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from predictnas.spaces import Space

__all__ = ["local_search", "mutants", "unseen"]

IntArray = NDArray[np.int64]


def unseen(space: Space, archs: IntArray, known: Collection[str]) -> IntArray:
    """Return the valid rows of ``archs`` whose key is neither known nor that of an earlier row."""
    seen = set(known)
    rows = []
    archs = archs[space.is_valid(archs)]
    for row, key in enumerate(space.keys(archs)):
        if key not in seen:
            seen.add(key)
            rows.append(row)
    return archs[rows]


def mutants(
    space: Space, parents: IntArray, count: int, max_edits: int, rng: np.random.Generator
) -> IntArray:
    """Return ``count`` mutants of random parents, each exactly 1 to ``max_edits`` edits away.

    Few edits are the point: in BANANAS most of the gain comes from looking closely around the
    incumbents (Schneider et al., 2021).
    """
    edits = rng.integers(1, min(max_edits, len(space.choices)) + 1, size=count)
    chosen = parents[rng.integers(len(parents), size=count)]
    result = np.empty_like(chosen)
    for number in np.unique(edits):
        rows = edits == number
        result[rows] = space.mutate(chosen[rows], rng, edits=int(number))
    return result


def local_search(
    space: Space,
    value: Callable[[IntArray], NDArray[np.float64]],
    starts: IntArray,
    known: Collection[str],
    *,
    budget: int,
    width: int = 5,
) -> tuple[IntArray, NDArray[np.float64]]:
    """Climb ``value`` over the space's neighbourhoods from the best starts.

    In every round the ``width`` best architectures found so far that were not expanded yet are
    expanded to all their neighbours at once, so that a predictor sees them as one batch. It
    ends when all of the ``width`` best are expanded (none has a better neighbour unseen) or the
    budget is spent.

    Parameters
    ----------
    space
        The space.
    value
        What is maximised, for an array of architectures at once.
    starts
        Where to begin, ``(n, choices)``, distinct and unknown (see :func:`unseen`).
    known
        Keys never to return: labelled, failed, queued or running.
    budget
        Largest number of architectures to evaluate beyond the starts.
    width
        Architectures expanded a round.

    Returns
    -------
    archs, values
        Everything evaluated, best first.
    """
    archs, values = starts, value(starts)
    seen = set(known) | set(space.keys(starts))
    expanded: set[tuple[int, ...]] = set()
    while budget > 0:
        order = np.argsort(-values, kind="stable")[:width]
        best = [row for row in archs[order] if tuple(row) not in expanded]
        if not best:
            break
        expanded.update(tuple(row) for row in best)
        around = np.concatenate([space.neighbors(tuple(int(i) for i in row)) for row in best])
        fresh = unseen(space, around, seen)[:budget]
        if not len(fresh):
            continue
        budget -= len(fresh)
        seen.update(space.keys(fresh))
        archs = np.concatenate([archs, fresh])
        values = np.concatenate([values, value(fresh)])
    order = np.argsort(-values, kind="stable")
    return archs[order], values[order]
