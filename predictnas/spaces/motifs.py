"""Motifs: small graphs with an operation or another motif on every edge."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TypeAlias

from encoders import INPUT, OUTPUT, ArchGraph
from predictnas.errors import InputError
from predictnas.spaces.grammar import Grammar
from predictnas.spaces.terms import Term

__all__ = ["ADD", "DOWN", "Edges", "check_motifs", "composed_graph"]

ADD = "add"
IDENTITY, ZERO = "id", "zero"
# Halves height and width.
DOWN = "down"

# Pairs (from, to) from lower to higher nodes; node 0 is the input, the last one the output.
Edges: TypeAlias = tuple[tuple[int, int], ...]


def composed_graph(term: Term, motifs: Mapping[str, Edges]) -> ArchGraph:
    """Return the graph of a term, with every motif put in the place of its edge.

    Parameters
    ----------
    term
        Motifs of operations.
    motifs
        For the name of every motif its edges, in the order of its arguments.
    """
    operations = [INPUT]
    wiring: list[tuple[int, int]] = []

    def place(operation: str, sources: list[int]) -> int:
        operations.append(operation)
        wiring.extend((source, len(operations) - 1) for source in sources)
        return len(operations) - 1

    def compose(term: Term, source: int | None) -> int | None:
        """Return the node of a term's value, None for zero."""
        if source is None or term.name == ZERO:
            return None
        if term.name == IDENTITY:
            return source
        if not term.arguments:
            return place(term.name, [source])
        edges = motifs[term.name]
        nodes: list[int | None] = [source]
        for node in range(1, max(end for _, end in edges) + 1):
            values = [
                compose(argument, nodes[start])
                for (start, end), argument in zip(edges, term.arguments, strict=True)
                if end == node
            ]
            summands = [value for value in values if value is not None]
            if len(summands) > 1:
                nodes.append(place(ADD, summands))
            else:
                nodes.append(summands[0] if summands else None)
        return nodes[-1]

    last = compose(term, 0)
    place(OUTPUT, [] if last is None else [last])
    return ArchGraph(tuple(operations), tuple(wiring))


def check_motifs(grammar: Grammar, motifs: Mapping[str, Edges], operations: Iterable[str]) -> None:
    """Refuse a grammar of which not every word is a network.

    Parameters
    ----------
    grammar
        The grammar.
    motifs
        For the name of every motif its edges.
    operations
        The operations, but for identity and zero.

    Raises
    ------
    InputError
        If the grammar has other operations or motifs, or adds values of different sizes.
    """
    _check_names(grammar, motifs, operations)
    _check_sizes(grammar, motifs)


def _check_names(grammar: Grammar, motifs: Mapping[str, Edges], operations: Iterable[str]) -> None:
    known = {*operations, IDENTITY, ZERO} - {ADD}
    unknown = sorted(grammar.primitives() - known)
    if unknown:
        raise InputError(
            f"expected primitives among {', '.join(sorted(known))}, found {', '.join(unknown)} in "
            "the grammar; declare it in operations or write a rule for it"
        )
    for name, arguments in grammar.functions().items():
        edges = motifs.get(name, ())
        if len(edges) != arguments:
            raise InputError(
                f"expected {arguments} edges of the motif {name}, one for each argument in the "
                f"grammar, found {len(edges)}; declare them in motifs"
            )
        ends = {end for _, end in edges}
        if not all(0 <= start < end for start, end in edges) or ends != {*range(1, max(ends) + 1)}:
            raise InputError(
                f"expected the edges of the motif {name} from lower to higher nodes, and one into "
                f"every node from 1 on, found {edges}; number its nodes in their order"
            )


def _check_sizes(grammar: Grammar, motifs: Mapping[str, Edges]) -> None:
    """Refuse a grammar that would add values of different height and width."""

    def agreed(halvings: Iterable[int], what: object) -> int:
        found = set(halvings)
        if len(found) > 1:
            raise InputError(
                f"expected one number of {DOWN} on all ways through {what}, found "
                f"{' and '.join(map(str, sorted(found)))}; write a nonterminal for each number"
            )
        return found.pop()

    @cache
    def halvings(term: Term) -> int:
        if term.name in grammar.productions:
            return agreed(map(halvings, grammar.productions[term.name]), term.name)
        if not term.arguments:
            return int(term.name == DOWN)
        nodes = [0]
        edges = list(zip(motifs[term.name], term.arguments, strict=True))
        for node in range(1, max(end for (_, end), _ in edges) + 1):
            ways = [nodes[start] + halvings(part) for (start, end), part in edges if end == node]
            nodes.append(agreed(ways, term))
        return nodes[-1]

    halvings(Term(grammar.start))
