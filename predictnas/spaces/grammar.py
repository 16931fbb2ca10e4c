"""Context-free grammars whose words are terms, such as ``Residual2(conv3x3, id, conv1x1)``."""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from math import prod
from types import MappingProxyType

from predictnas.errors import InputError
from predictnas.spaces.terms import Derivation, Term, read_rules, read_word

__all__ = ["Grammar"]


class Grammar:
    r"""A context-free grammar without recursion, of which every word is a term.

    It is written as rules ``NET -> Pair(LAYER, LAYER) | LAYER``, the alternatives of a rule
    separated by bars, where blanks and line ends mean nothing. Names with a rule are nonterminals,
    the first of them the start; the others are functions if they have arguments, and otherwise
    primitives. Alternatives are terms of any depth over all of them.

    Without recursion there are finitely many derivations. A grammar is refused where a word has
    two, so that derivations and words are the same. Their number is, for a nonterminal N with
    alternatives a and the nonterminals M in them,

    .. math:: |N| = \sum_{a \in N} \prod_{M \in a} |M|.

    Parameters
    ----------
    text
        The rules.

    Attributes
    ----------
    start
        The nonterminal from which words are derived.
    productions
        For every nonterminal its alternatives.

    Raises
    ------
    InputError
        If the text is malformed, or the grammar is recursive or ambiguous.

    References
    ----------
    S. Schrodi, D. Stoll, B. Ru, R. Sukthanker, T. Brox, F. Hutter. Construction of hierarchical
    neural architecture search spaces based on context-free grammars. NeurIPS 2023
    (arXiv:2211.01842).

    Examples
    --------
    >>> grammar = Grammar("NET -> Pair(LAYER, LAYER) | LAYER  LAYER -> conv | pool | id")
    >>> grammar.count()
    12
    >>> grammar.parse("Pair(pool, conv)")
    Derivation(option=0, parts=(Derivation(option=1, parts=()), Derivation(option=0, parts=())))
    >>> str(grammar.term(grammar.parse("Pair(pool,conv)")))
    'Pair(pool, conv)'
    """

    def __init__(self, text: str) -> None:
        productions: dict[str, tuple[Term, ...]] = {}
        for name, alternatives in read_rules(text):
            if name in productions:
                raise InputError(
                    f"expected one rule for {name}, found two; join their alternatives with |"
                )
            productions[name] = alternatives
        self.productions: Mapping[str, tuple[Term, ...]] = MappingProxyType(productions)
        self.start = next(iter(productions))
        self._check_arguments()
        self._check_rules()
        self._check_ambiguity()

    def nonterminals(self, term: Term) -> tuple[str, ...]:
        """Return the nonterminals in a term, from left to right."""
        if term.name in self.productions:
            return (term.name,)
        return tuple(name for part in term.arguments for name in self.nonterminals(part))

    def primitives(self) -> frozenset[str]:
        """Return the names in alternatives that have neither a rule nor arguments."""
        return frozenset(
            term.name
            for term in self._terms()
            if not term.arguments and term.name not in self.productions
        )

    def functions(self) -> dict[str, int]:
        """Return the names in alternatives that have arguments, and how many."""
        return {term.name: len(term.arguments) for term in self._terms() if term.arguments}

    def count(self) -> int:
        """Return the number of derivations, which is that of words."""

        @cache
        def counted(name: str) -> int:
            return sum(
                prod(counted(part) for part in self.nonterminals(alternative))
                for alternative in self.productions[name]
            )

        return counted(self.start)

    def term(self, derivation: Derivation) -> Term:
        """Return the word of a derivation."""

        def fill(term: Term, parts: Iterator[Derivation]) -> Term:
            if term.name in self.productions:
                return expand(term.name, next(parts))
            return Term(term.name, tuple(fill(each, parts) for each in term.arguments))

        def expand(name: str, derivation: Derivation) -> Term:
            return fill(self.productions[name][derivation.option], iter(derivation.parts))

        return expand(self.start, derivation)

    def parse(self, text: str) -> Derivation:
        """Return the derivation of a word.

        Raises
        ------
        InputError
            If it is none; the message gives the first wrong piece and its position, counted in
            characters from 1.
        """
        if not isinstance(text, str):
            raise InputError(f"expected the text of a term, found {text!r}; derive {self.start}")
        return read_word(text, self.productions, self.start)

    def _terms(self) -> Iterator[Term]:
        """Yield the alternatives and all terms within them."""
        for alternatives in self.productions.values():
            for alternative in alternatives:
                yield from alternative.parts()

    def _check_arguments(self) -> None:
        numbers: dict[str, int] = {}
        for term in self._terms():
            expected = 0 if term.name in self.productions else len(term.arguments)
            expected = numbers.setdefault(term.name, expected)
            if len(term.arguments) != expected:
                raise InputError(
                    f"expected {term.name} with {expected} arguments everywhere, found {term}; "
                    "give functions of different numbers of arguments different names"
                )

    def _check_rules(self) -> None:
        reached: set[str] = set()

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                cycle = " -> ".join((*above[above.index(name) :], name))
                raise InputError(
                    f"expected rules without recursion, found {cycle}; write a nonterminal for "
                    "every level"
                )
            if name not in reached:
                reached.add(name)
                for alternative in self.productions[name]:
                    for part in self.nonterminals(alternative):
                        visit(part, (*above, name))

        visit(self.start, ())
        unused = self.productions.keys() - reached
        if unused:
            raise InputError(
                f"expected every rule to be used from {self.start} on, found "
                f"{', '.join(sorted(unused))} unused; remove what is not needed"
            )

    def _check_ambiguity(self) -> None:
        @cache
        def common(one: Term, other: Term) -> str | None:
            """Return a word that both terms derive, if there is one."""
            for first, second in ((one, other), (other, one)):
                if first.name in self.productions:
                    words = (common(each, second) for each in self.productions[first.name])
                    return next((word for word in words if word is not None), None)
            if one.name != other.name:
                return None
            parts = []
            for first, second in zip(one.arguments, other.arguments, strict=True):
                word = common(first, second)
                if word is None:
                    return None
                parts.append(word)
            return f"{one.name}({', '.join(parts)})" if parts else one.name

        for name, alternatives in self.productions.items():
            for one, other in combinations(alternatives, 2):
                word = common(one, other)
                if word is not None:
                    raise InputError(
                        f"expected one derivation for every word, found {word:.60} from {name} by "
                        f"{one} and by {other}; give functions different names or drop one"
                    )
