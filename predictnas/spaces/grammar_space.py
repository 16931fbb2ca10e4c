"""Spaces whose architectures are the derivations of a grammar."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.spaces.base import MAX_DRAWS, MAX_ENUMERABLE, Arch, ArchLike, Archs
from predictnas.spaces.derivation_rows import DerivationRows
from predictnas.spaces.grammar import Grammar
from predictnas.spaces.motifs import Edges, check_motifs, composed_graph
from predictnas.spaces.networks import NetworkFileSpace
from predictnas.spaces.terms import Term

__all__ = ["GrammarSpace"]

# How many edits in a row may fail before all edits of an architecture are drawn anew.
PATIENCE = 10


class GrammarSpace(NetworkFileSpace):
    """A space that a grammar derives: motifs of motifs of operations.

    A function of the grammar is a motif, a small graph with one argument on every edge: a motif
    again, or an operation. A node is the sum of its edges; node 0 is the motif's input, the last
    one its output. ``id`` is the identity, ``zero`` returns zeros, and ``down`` halves height and
    width.

    There is a choice for every nonterminal that a derivation can have; its options are the
    alternatives. An architecture has option 0 for those that its derivation does not come to, so
    that a derivation is one architecture exactly. Only `from_params` takes any option there, so
    that samplers of Optuna can propose all choices independently. The native text is the term.

    A sample takes at every nonterminal each alternative with the same probability, as independent
    proposals do. It is not uniform over derivations: of those nearly all are as large as can be.
    A sample of distinct architectures is, where there are at most 2²⁰ derivations, of which it is
    drawn then.

    An edit re-derives a subtree: one nonterminal takes another alternative, what both alternatives
    have in common stays as it was, what only the old one has is lost, and what only the new one
    has is derived by the first alternatives, which are best the plainest ones. So an edit can
    change several options, and later edits can change what an earlier one brought.

    Attributes
    ----------
    grammar
        The grammar.
    motifs
        For every function of the grammar its edges (from, to) in the order of its arguments, from
        a lower to a higher node.
    operations
        The primitives of the grammar without ``id`` and ``zero``, and ``"add"``.
    """

    grammar: Grammar
    motifs: Mapping[str, Edges]
    _rows_of: DerivationRows

    def __init_subclass__(cls) -> None:
        if hasattr(cls, "grammar"):
            check_motifs(cls.grammar, cls.motifs, cls.operations)
            cls._rows_of = DerivationRows(cls.grammar)
            cls.choices = cls._rows_of.choices

    @property
    def size(self) -> int:
        """The number of derivations."""
        return self.grammar.count()

    @property
    def is_product(self) -> bool:
        """Whether `from_params` takes every combination of options."""
        return type(self).is_valid is GrammarSpace.is_valid

    def is_valid(self, archs: ArrayLike) -> NDArray[np.bool_]:
        """Return for every row of `archs` (n, len(choices)) whether it is an architecture.

        Raises
        ------
        InputError
            If `archs` is not a table of integers of that shape.
        """
        rows = self._rows(archs)
        valid = super().is_valid(rows)
        valid[valid] = np.all(self._rows_of.pruned(rows[valid]) == rows[valid], axis=1)
        return valid

    def from_params(self, params: Mapping[str, Any]) -> Arch:
        """Return the architecture that takes the given option for every choice it comes to.

        Raises
        ------
        InputError
            If a choice is missing or unknown, or an option is not one of its choice.
        """
        known = params.keys() == self.choices.keys()
        if not known or any(params[name] not in opts for name, opts in self.choices.items()):
            return super().from_params(params)
        options = [opts.index(params[name]) for name, opts in self.choices.items()]
        return self._one(self._rows_of.pruned(np.array([options]))[0])

    # Drawing and moving

    def _draw(self, n: int, rng: np.random.Generator) -> Archs:
        return self._rows_of.pruned(super()._draw(n, rng))

    def iterate(self) -> Archs:
        """Return all architectures (n, len(choices)); the last choice changes fastest.

        Raises
        ------
        InputError
            If there are more than about a million.
        """
        if self.size > MAX_ENUMERABLE:
            return super().iterate()
        rows = self._rows_of.all()
        return rows[self.is_valid(rows)]

    def distances(self, archs: ArrayLike, origins: ArrayLike) -> NDArray[np.int64]:
        """Return how many edits lead to each of architectures (n, len(choices)).

        These are the nonterminals in its derivation whose alternative its origin does not take, or
        which are not in its origin and take another than the first.

        Parameters
        ----------
        archs
            Architectures (n, len(choices)).
        origins
            As many others, row by row, or a single one.

        Returns
        -------
        array (n,)
            The number of edits.
        """
        rows = self.validate(archs)
        return self._edits(rows, self.validate(np.atleast_2d(np.asarray(origins))))

    def _edits(self, archs: Archs, others: Archs) -> NDArray[np.int64]:
        edits: NDArray[np.int64] = (self._rows_of.reached(archs) & (archs != others)).sum(axis=1)
        return edits

    def neighbors(self, arch: ArchLike) -> Archs:
        """Return all architectures (m, len(choices)) that are one edit away from `arch`."""
        base = np.array(self._one(arch), dtype=np.int64)
        rows = []
        for position in np.flatnonzero(self._rows_of.reached(base[None])[0]):
            for option in range(self._num_options[position]):
                if option != base[position]:
                    row = base.copy()
                    row[position] = option
                    rows.append(row)
        neighbors = self._rows_of.pruned(self._rows(rows))
        return neighbors[self.is_valid(neighbors)]

    def mutate(self, archs: ArrayLike, rng: np.random.Generator, edits: int = 1) -> Archs:
        """Make exactly `edits` edits to every architecture, one after another.

        Each re-derives the subtree of a nonterminal that is drawn uniformly among those of the
        derivation that are as they were, with another alternative that is drawn uniformly. An
        edit that undoes others is drawn again.

        Parameters
        ----------
        archs
            Architectures (n, len(choices)).
        rng
            The source of randomness.
        edits
            How many nonterminals take another alternative.

        Returns
        -------
        array (n, len(choices))
            The mutants, row by row.

        Raises
        ------
        InputError
            If `edits` is not between 1 and what every derivation allows for.
        """
        rows = self.validate(archs)
        most = self._rows_of.most_edits()
        if not 1 <= edits <= most:
            raise InputError(
                f"expected from 1 to {most} edits, found {edits}; {self.name} has derivations "
                f"that allow for {most} at once"
            )
        mutants = rows.copy()
        made = np.zeros(len(rows), dtype=np.int64)
        failures = np.zeros(len(rows), dtype=np.int64)
        for _ in range(MAX_DRAWS * edits):
            each = np.flatnonzero(made < edits)
            if not each.size:
                return mutants
            edited = self._edited(mutants[each], rows[each], rng)
            good = self._edits(edited, rows[each]) == made[each] + 1
            good &= (made[each] + 1 < edits) | self.is_valid(edited)
            mutants[each[good]] = edited[good]
            made[each] += good
            failures[each] = np.where(good, 0, failures[each] + 1)
            stuck = failures > PATIENCE
            mutants[stuck] = rows[stuck]
            made[stuck] = failures[stuck] = 0
        raise InputError(
            f"expected to make {edits} edits to every architecture, found one of {self.name} with "
            "hardly any such mutant; make fewer edits"
        )

    def _edited(self, archs: Archs, origins: Archs, rng: np.random.Generator) -> Archs:
        """Change one choice of every row that is as in its origin, where there is one."""
        free = self._rows_of.reached(archs) & (archs == origins) & (self._num_options > 1)
        # The place of the largest of independent uniform numbers is a random one.
        positions = np.where(free, rng.random(free.shape), -1).argmax(axis=1)
        each, options = np.arange(len(archs)), self._num_options[positions]
        edited = archs.copy()
        edited[each, positions] += rng.integers(1, np.maximum(options, 2))
        edited[each, positions] %= options
        return self._rows_of.pruned(edited)

    # Text and graphs

    def format(self, arch: ArchLike) -> str:
        """Return the term of an architecture."""
        return str(self._term(self._one(arch)))

    def parse(self, text: str) -> Arch:
        """Read an architecture as a term; blanks between its parts mean nothing.

        Raises
        ------
        InputError
            If the grammar does not derive it; the message gives the first wrong piece and its
            position, counted in characters from 1.
        """
        return self._rows_of.row(self.grammar.parse(text))

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the graph of the whole network, motifs put in the place of edges.

        There is a node for every operation, and one ``"add"`` for every sum of two or more values.
        Identities are edges. Zeros are left out, and so is what has nothing but zeros before it.
        """
        return composed_graph(self._term(self._one(arch)), self.motifs)

    def _term(self, arch: Arch) -> Term:
        return self.grammar.term(self._rows_of.derivation(arch))

    def _network_arguments(self, arch: Arch) -> dict[str, Any]:
        term = self._term(arch)
        names = {each.name for each in term.parts()}
        motifs = {name: edges for name, edges in self.motifs.items() if name in names}
        return {"term": _nested(term), "motifs": motifs}


def _nested(term: Term) -> str | tuple[Any, ...]:
    """Return a term as the name of a primitive, or the name of a function and its arguments."""
    return (term.name, *map(_nested, term.arguments)) if term.arguments else term.name
