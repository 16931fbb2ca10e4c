"""An architecture as a labelled directed acyclic multigraph."""

import hashlib
import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.canonical import INPUT, OUTPUT, canonical_order, simplify
from encoders.errors import EncodingError

__all__ = ["ArchGraph"]


@dataclass(frozen=True)
class ArchGraph:
    """A labelled directed acyclic multigraph: what encoders, predictors and search see.

    Every node carries an operation and adds up what arrives on its incoming edges; an edge that is
    repeated means that the value is added twice. Exactly one node is the ``"input"``, without
    incoming edges, and one the ``"output"``, without outgoing edges. ``"skip_connect"`` is the
    identity and ``"none"`` the operation that returns zero; all other names are the caller's.

    Graphs are values: equal if operations and edges are equal, hashable, never changed.

    Parameters
    ----------
    operations
        The operation on every node.
    edges
        Pairs (from, to) of node numbers, in any order; they are stored sorted.

    Raises
    ------
    EncodingError
        If this is not such a graph.

    Examples
    --------
    >>> graph = ArchGraph(("input", "conv", "skip_connect", "output"), ((0, 1), (1, 2), (2, 3)))
    >>> graph.canonical()
    ArchGraph(operations=('input', 'conv', 'output'), edges=((0, 1), (1, 2)))
    >>> graph.key() == ArchGraph(("output", "input", "conv"), ((1, 2), (2, 0))).key()
    True
    """

    operations: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        operations = _checked_operations(self.operations)
        edges = _checked_edges(self.edges, len(operations))
        object.__setattr__(self, "operations", operations)
        object.__setattr__(self, "edges", edges)
        self._check_ends()
        if len(self._order) < self.num_nodes:
            cycle = sorted(set(range(self.num_nodes)).difference(self._order))
            raise EncodingError(
                f"expected a graph without cycles, found one among the nodes {cycle}; "
                "remove an edge of it"
            )

    @classmethod
    def _of_valid(
        cls, operations: tuple[str, ...], edges: tuple[tuple[int, int], ...]
    ) -> "ArchGraph":
        """Make a graph that is valid by construction, its edges sorted, without checking again."""
        graph = object.__new__(cls)
        object.__setattr__(graph, "operations", operations)
        object.__setattr__(graph, "edges", edges)
        return graph

    def _check_ends(self) -> None:
        for name, neighbours, direction in (
            (INPUT, self.predecessors, "incoming"),
            (OUTPUT, self.successors, "outgoing"),
        ):
            count = self.operations.count(name)
            if count != 1:
                raise EncodingError(
                    f"expected exactly one node {name!r}, found {count} among "
                    f"{self.num_nodes} nodes; name the other operations differently"
                )
            node = self.operations.index(name)
            if neighbours[node]:
                raise EncodingError(
                    f"expected no {direction} edges at the node {name!r}, found "
                    f"{len(neighbours[node])} at node {node}; turn or remove them"
                )

    @property
    def num_nodes(self) -> int:
        """The number of nodes, input and output included."""
        return len(self.operations)

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For every node, the nodes its incoming edges come from; repeated edges repeat."""
        sources: list[list[int]] = [[] for _ in self.operations]
        for source, target in self.edges:
            sources[target].append(source)
        return tuple(map(tuple, sources))

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """For every node, the nodes its outgoing edges go to; repeated edges repeat."""
        targets: list[list[int]] = [[] for _ in self.operations]
        for source, target in self.edges:
            targets[source].append(target)
        return tuple(map(tuple, targets))

    @cached_property
    def _order(self) -> tuple[int, ...]:
        """The nodes that can be ordered topologically: all of them unless there is a cycle."""
        first, last = self.operations.index(INPUT), self.operations.index(OUTPUT)
        if first == 0 and last == self.num_nodes - 1 and all(s < t for s, t in self.edges):
            return tuple(range(self.num_nodes))
        missing = [len(sources) for sources in self.predecessors]
        ready = [node for node, count in enumerate(missing) if count == 0 and node != last]
        # The input sorts before all other numbers.
        ready[ready.index(first)] = -1
        heapq.heapify(ready)
        order = []
        while ready:
            node = heapq.heappop(ready)
            order.append(first if node < 0 else node)
            for target in self.successors[order[-1]]:
                missing[target] -= 1
                if missing[target] == 0 and target != last:
                    heapq.heappush(ready, target)
        return (*order, last)

    def topological_order(self) -> tuple[int, ...]:
        """Return all nodes, each after its predecessors; the input first, the output last.

        Of several nodes that could come next it is the one with the smallest number, so that nodes
        which are numbered in such an order keep it.
        """
        return self._order

    def adjacency(self) -> NDArray[np.int64]:
        """Return the matrix (num_nodes, num_nodes) that counts the edges from row to column."""
        matrix = np.zeros((self.num_nodes, self.num_nodes), dtype=np.int64)
        for edge in self.edges:
            matrix[edge] += 1
        return matrix

    def depth(self) -> int:
        """Return the number of edges on the longest path from input to output, 0 if none."""
        order = self.topological_order()
        distance = {order[0]: 0}
        for node in order[1:]:
            sources = [distance[s] for s in self.predecessors[node] if s in distance]
            if sources:
                distance[node] = max(sources) + 1
        return distance.get(order[-1], 0)

    def relabelled(self, permutation: Sequence[int]) -> "ArchGraph":
        """Return the same graph with node `i` moved to position ``permutation[i]``.

        Parameters
        ----------
        permutation
            Every node number once.

        Raises
        ------
        EncodingError
            If it is not a permutation of the node numbers.
        """
        if sorted(permutation) != list(range(self.num_nodes)):
            raise EncodingError(
                f"expected every number from 0 to {self.num_nodes - 1} once, "
                f"found {list(permutation)}; give a permutation of the nodes"
            )
        operations = [""] * self.num_nodes
        for node, position in enumerate(permutation):
            operations[position] = self.operations[node]
        edges = tuple((permutation[source], permutation[target]) for source, target in self.edges)
        return ArchGraph(tuple(operations), edges)

    def canonical(self) -> "ArchGraph":
        """Return the canonical form: the same for all graphs that compute the same sums.

        Nodes that return zero or are not on a path from input to output are removed, identities
        become edges, and the nodes are numbered so that isomorphic graphs are equal, in
        topological order. Without a path, only input and output stay. The form is idempotent.

        Raises
        ------
        EncodingError
            If it would have more than 100,000 edges.
        """
        return _canonical(self)

    def key(self) -> str:
        """Return 32 hexadecimal digits, equal exactly for graphs of equal canonical form.

        The digest (SHA-256 of the canonical form as JSON, shortened) is the same in every process
        and on every platform.
        """
        return self.canonical()._digest

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """Return one line of JSON: ``{"operations": [...], "edges": [[i, j], ...]}``."""
        return json.dumps({"operations": self.operations, "edges": self.edges})

    @classmethod
    def from_json(cls, text: str) -> "ArchGraph":
        """Read a graph that `to_json` wrote.

        Parameters
        ----------
        text
            A JSON object with exactly the members ``operations`` and ``edges``.

        Raises
        ------
        EncodingError
            If the text is not JSON, or not the JSON of a valid graph.
        """
        try:
            data = json.loads(text, object_pairs_hook=_members)
        except EncodingError:
            raise
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodingError(
                f"expected the JSON of a graph, found text that is not JSON ({error}); "
                "write it with to_json"
            ) from error
        if not isinstance(data, dict) or data.keys() != {"operations", "edges"}:
            found = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise EncodingError(
                "expected a JSON object with the members 'operations' and 'edges', "
                f"found {found}; write it with to_json"
            )
        if not all(isinstance(member, list) for member in data.values()):
            raise EncodingError(
                "expected the members 'operations' and 'edges' of a graph as lists, "
                f"found {data!r:.80}; write it with to_json"
            )
        return cls(data["operations"], data["edges"])


# A search asks for the same forms again and again, and simplified graphs are few next to those
# that lead to them.
@lru_cache(maxsize=2**15)
def _canonical(graph: ArchGraph) -> ArchGraph:
    return _ordered(*simplify(graph.operations, graph.edges))


@lru_cache(maxsize=2**15)
def _ordered(operations: tuple[str, ...], edges: tuple[tuple[int, int], ...]) -> ArchGraph:
    return ArchGraph._of_valid(*canonical_order(operations, edges))


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary of the members of a JSON object, refusing one that is named twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise EncodingError(f"expected every member of a JSON object once, found {names}")
    return members


def _checked_operations(operations: Iterable[str]) -> tuple[str, ...]:
    if isinstance(operations, str) or not isinstance(operations, Iterable):
        raise EncodingError(
            f"expected a sequence of operation names, found {operations!r}; give one per node"
        )
    operations = tuple(operations)
    for node, operation in enumerate(operations):
        if not isinstance(operation, str) or not operation:
            raise EncodingError(
                f"expected a non-empty operation name at node {node}, found {operation!r}; "
                "name every operation"
            )
    return operations


def _checked_edges(edges: Iterable[Sequence[int]], nodes: int) -> tuple[tuple[int, int], ...]:
    if not isinstance(edges, Iterable):
        raise EncodingError(
            f"expected a sequence of edges, found {edges!r}; give pairs of node numbers"
        )
    checked = []
    for edge in edges:
        try:
            source, target = map(_node_number, edge)
        except (TypeError, ValueError) as error:
            raise EncodingError(
                f"expected every edge as a pair of node numbers, found {edge!r}; "
                "give it as (from, to)"
            ) from error
        if source == target or not (0 <= source < nodes and 0 <= target < nodes):
            raise EncodingError(
                f"expected edges between two different nodes from 0 to {nodes - 1}, "
                f"found ({source}, {target}); check the node numbers"
            )
        checked.append((source, target))
    return tuple(sorted(checked))


def _node_number(value: Any) -> int:
    """Return an integer of any integer type as a plain one; a truth value is none."""
    if type(value) is int:
        return value
    if isinstance(value, np.integer):
        return int(value)
    raise TypeError(f"{value!r} is not a node number")
