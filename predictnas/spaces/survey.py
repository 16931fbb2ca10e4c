"""A few architectures of a space that show all its options, and every two of them together."""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np

from predictnas.spaces.base import Arch, Space

__all__ = ["covering_architectures"]

# Up to so many combinations all of them are returned.
MAX_ALL = 64
# Drawn architectures among which one is chosen, and how many draws in a row may bring nothing new.
DRAWN = 64
MAX_FRUITLESS = 3


def covering_architectures(
    space: Space, active: Callable[[Arch], Iterable[int]], rng: np.random.Generator
) -> list[Arch]:
    """Return architectures that together show every two options that go together.

    One after the other, of 64 drawn the one is taken that shows most pairs not seen yet, until
    three draws in a row bring nothing new. Of a small space all architectures are returned.

    Parameters
    ----------
    space
        The space.
    active
        Returns the numbers of the choices that exist in an architecture.
    rng
        The source of randomness.

    References
    ----------
    D. M. Cohen, S. R. Dalal, M. L. Fredman, G. C. Patton. The AETG system: an approach to testing
    based on combinatorial design. IEEE Transactions on Software Engineering, 1997.
    """
    if space.size <= MAX_ALL:
        return [tuple(row) for row in space.iterate().tolist()]
    found: list[Arch] = []
    seen: set[tuple[int, ...]] = set()
    fruitless = 0
    while fruitless < MAX_FRUITLESS:
        drawn: list[Arch] = [tuple(row) for row in space.sample(DRAWN, rng).tolist()]
        shown = [_pairs(arch, active(arch)) - seen for arch in drawn]
        best = max(range(DRAWN), key=lambda index: len(shown[index]))
        if not shown[best]:
            fruitless += 1
            continue
        fruitless = 0
        found.append(drawn[best])
        seen |= shown[best]
    return found


def _pairs(arch: Sequence[int], active: Iterable[int]) -> set[tuple[int, ...]]:
    """Return the options that an architecture shows, and the pairs of them."""
    shown = [(choice, arch[choice]) for choice in active]
    return {*shown, *((*one, *other) for one, other in combinations(shown, 2))}
