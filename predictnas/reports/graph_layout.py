"""Where the nodes and edges of an architecture's graph go on paper.

Layered drawing of directed graphs (Sugiyama, Tagawa and Toda, 1981): nodes stand in layers by
their longest path from the input, edges that span several layers pass through a point in each,
layers are ordered to cross few edges, and nodes move towards their neighbours.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from encoders import INPUT, OUTPUT, ZERO, ArchGraph
from predictnas.reports.spacing import spread

__all__ = ["Layout", "Route", "layout"]

Point = tuple[float, float]
Neighbours = dict[int, list[int]]

# Distance between two nodes of a layer is 1; edges that pass by need less.
_GAP_AT_NODE, _GAP_BETWEEN_EDGES = 0.75, 0.5
_SWEEPS = 24


@dataclass(frozen=True)
class Route:
    """One edge on paper.

    Attributes
    ----------
    source, target
        Node numbers.
    count
        How many times the graph has this edge.
    points
        Where it starts, passes each layer between, and ends; x in layers, y in rows.
    """

    source: int
    target: int
    count: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """A graph on paper, with zeros left out.

    Attributes
    ----------
    positions
        For every drawn node number its place: x in layers from 0, y in rows from 0 at the top.
    routes
        The edges.
    dead
        Nodes that are on no path from input to output.
    width, height
        Largest x and y.
    """

    positions: dict[int, Point]
    routes: tuple[Route, ...]
    dead: frozenset[int]
    width: float
    height: float


def layout(graph: ArchGraph) -> Layout:
    """Lay a graph out from left to right."""
    nodes = [node for node, name in enumerate(graph.operations) if name != ZERO]
    edges = Counter(edge for edge in graph.edges if set(edge) <= set(nodes))
    layers = _layers(graph, nodes, sorted(edges))
    chains, columns = _chains(layers, sorted(edges))
    neighbours = _neighbours(chains)
    _reduce_crossings(columns, neighbours)
    rows = _rows(columns, neighbours, set(nodes))
    place = {item: (float(x), rows[item]) for x, column in enumerate(columns) for item in column}
    routes = tuple(
        Route(*edge, edges[edge], tuple(place[item] for item in chains[edge])) for edge in chains
    )
    return Layout(
        positions={node: place[node] for node in nodes},
        routes=routes,
        dead=_dead(graph, nodes, list(edges)),
        width=len(columns) - 1.0,
        height=max(rows.values()),
    )


def _layers(
    graph: ArchGraph, nodes: Sequence[int], edges: Sequence[tuple[int, int]]
) -> dict[int, int]:
    """Return the layer of every node: the input alone in the first, the output in the last."""
    inner = [n for n in graph.topological_order() if n in set(nodes)]
    layers = {node: int(graph.operations[node] != INPUT) for node in inner}
    for node in inner:
        for source, target in edges:
            if source == node:
                layers[target] = max(layers[target], layers[node] + 1)
    last = 1 + max(layers[node] for node in inner if graph.operations[node] != OUTPUT)
    layers[graph.operations.index(OUTPUT)] = last
    # What nothing feeds stands right before what it feeds.
    fed = {target for _, target in edges}
    for node in reversed(inner):
        targets = [layers[target] for source, target in edges if source == node]
        if layers[node] > 0 and node not in fed and targets:
            layers[node] = min(targets) - 1
    return layers


def _chains(
    layers: dict[int, int], edges: Sequence[tuple[int, int]]
) -> tuple[dict[tuple[int, int], list[int]], list[list[int]]]:
    """Return the items that each edge passes through and the items of every layer.

    Items are the nodes and, numbered after them, a point in each layer that an edge crosses.
    """
    columns: list[list[int]] = [[] for _ in range(max(layers.values()) + 1)]
    for node in sorted(layers):
        columns[layers[node]].append(node)
    fresh = max(layers) + 1
    chains = {}
    for source, target in edges:
        chain = [source]
        for layer in range(layers[source] + 1, layers[target]):
            columns[layer].append(fresh)
            chain.append(fresh)
            fresh += 1
        chains[source, target] = [*chain, target]
    return chains, columns


def _neighbours(
    chains: dict[tuple[int, int], list[int]],
) -> tuple[Neighbours, Neighbours]:
    """Return the items to the left and to the right of every item."""
    left: Neighbours = {}
    right: Neighbours = {}
    for chain in chains.values():
        for first, second in pairwise(chain):
            right.setdefault(first, []).append(second)
            left.setdefault(second, []).append(first)
    return left, right


def _reduce_crossings(columns: list[list[int]], neighbours: tuple[Neighbours, Neighbours]) -> None:
    """Order every column by the mean rank of its neighbours, sweeping to and fro; keep the best."""
    left, right = neighbours
    best, fewest = [list(column) for column in columns], _crossings(columns, right)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        forwards = sweep % 2 == 0
        order = range(1, len(columns)) if forwards else range(len(columns) - 2, -1, -1)
        for index in order:
            fixed = columns[index - 1 if forwards else index + 1]
            means = _mean_ranks(columns[index], fixed, left if forwards else right)
            if sweep % 4 > 1:
                columns[index].reverse()  # the other way round among equals
            columns[index].sort(key=means.__getitem__)
            _swap_pairs(columns, index, right)
        crossings = _crossings(columns, right)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    columns[:] = best


def _mean_ranks(
    column: Sequence[int], fixed: Sequence[int], towards: Neighbours
) -> dict[int, float]:
    """Return the mean rank of every item's neighbours in `fixed`, its own rank without any."""
    rank = {item: position for position, item in enumerate(fixed)}
    means = {}
    for position, item in enumerate(column):
        around = [rank[other] for other in towards.get(item, [])]
        means[item] = float(np.mean(around)) if around else float(position)
    return means


def _swap_pairs(columns: list[list[int]], index: int, right: Neighbours) -> None:
    """Swap neighbours in a column as long as that removes crossings; means alone leave ties."""
    column = columns[index]
    around = columns[max(index - 1, 0) : index + 2]
    crossings = _crossings(around, right)
    improved = True
    while improved:
        improved = False
        for upper in range(len(column) - 1):
            column[upper : upper + 2] = column[upper : upper + 2][::-1]
            swapped = _crossings(around, right)
            if swapped < crossings:
                crossings, improved = swapped, True
            else:
                column[upper : upper + 2] = column[upper : upper + 2][::-1]


def _crossings(columns: list[list[int]], right: Neighbours) -> int:
    count = 0
    for column, following in pairwise(columns):
        rank = {item: position for position, item in enumerate(following)}
        ends = [[rank[item] for item in right.get(source, [])] for source in column]
        for upper, upper_ends in enumerate(ends):
            for lower_ends in ends[upper + 1 :]:
                count += sum(a > b for a in upper_ends for b in lower_ends)
    return count


def _rows(
    columns: list[list[int]],
    neighbours: tuple[Neighbours, Neighbours],
    nodes: set[int],
) -> dict[int, float]:
    """Return every item's row: as near to its neighbours as order and distances allow."""
    left, right = neighbours
    rows = {
        item: position - (len(column) - 1) / 2
        for column in columns
        for position, item in enumerate(column)
    }
    for sweep in range(_SWEEPS):
        # The last sweeps look both ways, so that no side has the final word.
        sides = [left, right] if sweep >= _SWEEPS // 2 else [left if sweep % 2 == 0 else right]
        order = columns if sweep % 2 == 0 else columns[::-1]
        for column in order:
            wanted = []
            for item in column:
                around = [rows[other] for side in sides for other in side.get(item, [])]
                wanted.append(float(np.mean(around)) if around else rows[item])
            # Edges that pass by are kept straight before nodes are centred.
            weights = [1.0 if item in nodes else 2.0 for item in column]
            rows.update(zip(column, spread(wanted, _gaps(column, nodes), weights), strict=True))
    top = min(rows.values())
    return {item: row - top for item, row in rows.items()}


def _gaps(column: Sequence[int], nodes: set[int]) -> list[float]:
    gaps = []
    for first, second in pairwise(column):
        at_node = (first in nodes) + (second in nodes)
        gaps.append((_GAP_BETWEEN_EDGES, _GAP_AT_NODE, 1.0)[at_node])
    return gaps


def _dead(
    graph: ArchGraph, nodes: Sequence[int], edges: Sequence[tuple[int, int]]
) -> frozenset[int]:
    """Return the nodes on no path from input to output, those two excepted."""
    order = [node for node in graph.topological_order() if node in set(nodes)]
    first, last = order[0], order[-1]
    reached, useful = {first}, {last}
    for node in order:
        if node in reached:
            reached.update(target for source, target in edges if source == node)
    for node in reversed(order):
        if node in useful:
            useful.update(source for source, target in edges if target == node)
    return frozenset(set(nodes) - (reached & useful) - {first, last})
