"""The canonical form of a labelled directed acyclic multigraph.

Two steps, both plain functions of ``(operations, edges)``. `simplify` removes what does not change
the computed function: operations that return zero or their input, and nodes that are not on a path
from input to output. `canonical_order` then numbers the nodes so that isomorphic graphs become
equal: colour refinement tells nodes apart by their surroundings, and where a tie remains each of
its nodes is individualised in turn and the smallest edge list wins.

References
----------
B. D. McKay, A. Piperno. Practical graph isomorphism, II. J. Symbolic Computation, 2014
(arXiv:1301.1493).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from encoders.errors import EncodingError

__all__ = ["IDENTITY", "INPUT", "OUTPUT", "ZERO", "canonical_order", "simplify"]

INPUT = "input"
OUTPUT = "output"
IDENTITY = "skip_connect"
ZERO = "none"

# Contracting identities in a long chain of sums can double the number of edges at every link.
MAX_EDGES = 100_000

Edges = tuple[tuple[int, int], ...]
Graph = tuple[tuple[str, ...], Edges]


def simplify(operations: Sequence[str], edges: Sequence[tuple[int, int]]) -> Graph:
    """Remove zeros, identities and everything that is not on a path from input to output.

    An identity is replaced by an edge from each of its predecessors to each of its successors, and
    multiplicities multiply: two identities in parallel leave ``x + x``, a double edge. The nodes
    that stay keep their order. Without a path, only input and output stay, with no edge.

    Parameters
    ----------
    operations
        The operation on every node; ``"input"`` and ``"output"`` once each.
    edges
        Pairs (from, to) of an acyclic graph; a repeated pair is a value that is added twice.

    Raises
    ------
    EncodingError
        If more than 100,000 edges would be left.
    """
    predecessors: list[dict[int, int]] = [{} for _ in operations]
    successors: list[dict[int, int]] = [{} for _ in operations]
    for source, target in edges:
        if operations[source] != ZERO and operations[target] != ZERO:
            count = successors[source].get(target, 0) + 1
            successors[source][target] = predecessors[target][source] = count
    begin, end = operations.index(INPUT), operations.index(OUTPUT)
    alive = _reachable(begin, successors) & _reachable(end, predecessors)
    if begin not in alive:
        return (INPUT, OUTPUT), ()
    if len(alive) < len(operations):
        for neighbours in (predecessors, successors):
            for node in alive:
                if not neighbours[node].keys() <= alive:
                    neighbours[node] = {n: c for n, c in neighbours[node].items() if n in alive}

    identities = [node for node in alive if operations[node] == IDENTITY]
    for node in identities:
        for source, count_in in predecessors[node].items():
            del successors[source][node]
            for target, count_out in successors[node].items():
                count = successors[source].get(target, 0) + count_in * count_out
                successors[source][target] = predecessors[target][source] = count
        for target in successors[node]:
            del predecessors[target][node]
    kept = sorted(alive.difference(identities))
    if sum(sum(successors[node].values()) for node in kept) > MAX_EDGES:
        raise EncodingError(
            f"expected a canonical form of at most {MAX_EDGES:,} edges, found more after "
            f"contracting {len(identities)} identities; encode a smaller part, such as one cell"
        )
    position = {node: index for index, node in enumerate(kept)}
    return (
        tuple(operations[node] for node in kept),
        tuple(
            sorted(
                (position[source], position[target])
                for source in kept
                for target, count in successors[source].items()
                for _ in range(count)
            )
        ),
    )


def _reachable(start: int, neighbours: Sequence[dict[int, int]]) -> set[int]:
    """Return the nodes that can be reached from `start`, itself included."""
    found, waiting = {start}, [start]
    while waiting:
        new = neighbours[waiting.pop()].keys() - found
        found |= new
        waiting.extend(new)
    return found


def canonical_order(operations: Sequence[str], edges: Sequence[tuple[int, int]]) -> Graph:
    """Renumber the nodes of a simplified graph so that isomorphic graphs become equal.

    The order is topological, with the input first and the output last.

    Parameters
    ----------
    operations
        The operation on every node.
    edges
        Pairs (from, to); every node lies on a path from input to output, or there is no edge.
    """
    predecessors: list[list[int]] = [[] for _ in operations]
    successors: list[list[int]] = [[] for _ in operations]
    for source, target in edges:
        predecessors[target].append(source)
        successors[source].append(target)
    wiring = _Wiring(edges, predecessors, successors)
    # Depth comes first in the colour, so any order by colour is topological; and the output,
    # behind every other node, is deepest. Without edges, "input" precedes "output" by name.
    nodes = range(len(operations))
    colours = _ranks(
        zip(
            _longest_distance(predecessors, nodes),
            _longest_distance(successors, reversed(nodes)),
            operations,
            _twin_numbers(operations, wiring),
            strict=True,
        )
    )
    relabelled, position = _smallest(_refine(colours, wiring), wiring)
    ordered = [""] * len(position)
    for node, place in enumerate(position):
        ordered[place] = operations[node]
    return tuple(ordered), relabelled


class _Wiring(NamedTuple):
    """The edges of a graph, and for every node those before and after it, with repeats."""

    edges: Sequence[tuple[int, int]]
    predecessors: Sequence[Sequence[int]]
    successors: Sequence[Sequence[int]]


def _longest_distance(predecessors: Sequence[Sequence[int]], order: Iterable[int]) -> list[int]:
    """Return for every node the number of edges on the longest path that ends in it.

    Two looks at every node are enough where the order is topological, as it mostly is.
    """
    distance = [0] * len(predecessors)
    nodes = [node for node in order if predecessors[node]]
    changed = True
    while changed:
        changed = False
        for node in nodes:
            longest = 1 + max([distance[source] for source in predecessors[node]])
            if longest != distance[node]:
                distance[node] = longest
                changed = True
    return distance


def _twin_numbers(operations: Sequence[str], wiring: _Wiring) -> list[int]:
    """Return numbers that tell apart nodes of the same operation, predecessors and successors.

    Such twins can trade places without any other node noticing, so every numbering of them leads
    to the same result, and they never make a tie.
    """
    count: Counter[tuple[Any, ...]] = Counter()
    numbers = []
    for operation, sources, targets in zip(
        operations, wiring.predecessors, wiring.successors, strict=True
    ):
        signature = (operation, tuple(sources), tuple(targets))
        numbers.append(count[signature])
        count[signature] += 1
    return numbers


def _ranks(signatures: Iterable[tuple[Any, ...]]) -> list[int]:
    """Replace every signature by its rank among the distinct ones."""
    signatures = list(signatures)
    rank = {signature: index for index, signature in enumerate(sorted(set(signatures)))}
    return [rank[signature] for signature in signatures]


def _refine(colours: list[int], wiring: _Wiring) -> list[int]:
    """Split colours by the colours around them until nothing changes; their order is kept."""
    classes = len(set(colours))
    while classes < len(colours):
        refined = _ranks(
            (
                colour,
                tuple(sorted([colours[source] for source in sources])),
                tuple(sorted([colours[target] for target in targets])),
            )
            for colour, sources, targets in zip(
                colours, wiring.predecessors, wiring.successors, strict=True
            )
        )
        if max(refined) + 1 == classes:
            break
        colours, classes = refined, max(refined) + 1
    return colours


def _first_tie(colours: list[int]) -> list[int]:
    """Return the nodes that share the smallest colour that is not unique, if there is one."""
    shared = min([colour for colour, count in Counter(colours).items() if count > 1], default=None)
    return [node for node, colour in enumerate(colours) if colour == shared]


def _individualise(colours: list[int], chosen: int, wiring: _Wiring) -> list[int]:
    """Put one node before the others of its colour, and refine."""
    separated = [2 * colour + 1 for colour in colours]
    separated[chosen] -= 1
    return _refine(_ranks((colour,) for colour in separated), wiring)


def _relabel(position: list[int], wiring: _Wiring) -> Edges:
    """Return the edges between the new positions of the nodes."""
    return tuple(sorted([(position[source], position[target]) for source, target in wiring.edges]))


def _first_order(colours: list[int], wiring: _Wiring) -> Edges:
    """Return the edge list that comes from taking the first node of every tie."""
    while tied := _first_tie(colours):
        colours = _individualise(colours, tied[0], wiring)
    return _relabel(colours, wiring)


def _smallest(colours: list[int], wiring: _Wiring) -> tuple[Edges, list[int]]:
    """Return the smallest edge list over the orders that respect `colours`, and its order."""
    tied = _first_tie(colours)
    if not tied:
        return _relabel(colours, wiring), colours
    found: list[tuple[Edges, list[int]]] = []
    seen: set[Edges] = set()
    for node in tied:
        chosen = _individualise(colours, node, wiring)
        first = _first_order(chosen, wiring)
        # Two orders with the same edge list differ by an automorphism. It maps an earlier node of
        # this tie to this one, so below this node everything would only be seen again.
        if first not in seen:
            found.append(_smallest(chosen, wiring))
            seen.update((first, found[-1][0]))
    return min(found)
