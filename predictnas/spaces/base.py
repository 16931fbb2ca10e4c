"""What every search space has in common."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoders import ArchGraph, GraphBatch
from predictnas.errors import InputError

if TYPE_CHECKING:
    import optuna
    from torch import nn

__all__ = ["Arch", "ArchLike", "Archs", "Space"]

Arch: TypeAlias = tuple[int, ...]
ArchLike: TypeAlias = Sequence[int] | NDArray[np.int64]
Archs: TypeAlias = NDArray[np.int64]

# The largest space that is held in memory as a whole.
MAX_ENUMERABLE = 2**20
# How often to draw again what was not valid or not new before sampling gives up.
MAX_DRAWS = 100


class Space(ABC):
    """A set of architectures, declared as named categorical choices.

    An architecture is one option index for every choice, in the order of `choices`: a tuple of
    integers, or a row of an int64 array ``(n, len(choices))`` when there are many. From the
    choices alone a space can sample, enumerate, mutate and list neighbours, and read and write
    architectures as text, as parameters of an Optuna trial and as JSON-able dictionaries.

    A concrete space says what an architecture is: `graph` gives its labelled graph, `build` its
    network, and `network_source` that network as Python source. It may override `parse` and
    `format` where the field has a notation of its own, `key` where the field has its own notion of
    equality, and `is_valid` where not every combination of options is an architecture; sampling,
    mutation, neighbours and enumeration then keep to the valid ones.

    Spaces hold no state; all randomness comes in as a generator. Whatever is given in a form that
    a space cannot use raises `InputError`.

    Attributes
    ----------
    name
        The name in the registry.
    choices
        For every choice its options, in order.
    operations
        The operations that the graphs may carry, without input and output.
    default_scale
        The arguments of `build` that set the network's size, with their defaults.
    num_distinct
        How many different keys there are, where that is known.
    """

    name: str
    choices: Mapping[str, tuple[str, ...]]
    operations: tuple[str, ...]
    default_scale: Mapping[str, int] = MappingProxyType({})
    num_distinct: int | None = None

    @abstractmethod
    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the labelled graph of an architecture."""

    @abstractmethod
    def build(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, **scale: int
    ) -> "nn.Module":
        """Return the network of an architecture, with fresh weights.

        The weights come from torch's global generator: seed it inside
        ``torch.random.fork_rng()`` to draw the same ones again.

        Parameters
        ----------
        arch
            One option index for every choice.
        input_shape
            Channels, height and width of an image.
        num_classes
            The number of outputs.
        scale
            Sizes that differ from `default_scale`.

        Returns
        -------
        torch.nn.Module
            Maps images ``(batch, *input_shape)`` to logits ``(batch, num_classes)``.

        Raises
        ------
        InputError
            If an argument cannot be used.
        """

    @abstractmethod
    def network_source(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, **scale: int
    ) -> str:
        """Return Python source that needs torch alone and defines ``build_network()``.

        The network it returns is the one that `build` gives for the same arguments: the state
        dictionaries have the same names and shapes.

        Raises
        ------
        InputError
            If an argument cannot be used, or there is no such source of this space's networks.
        """

    @property
    def identity(self) -> str:
        """What tells this space from others: labels and scores of one identity mean the same."""
        return self.name

    @property
    def size(self) -> int:
        """The number of combinations of options, valid or not."""
        return math.prod(self._num_options.tolist())

    @property
    def is_product(self) -> bool:
        """Whether every combination of options is an architecture."""
        return type(self).is_valid is Space.is_valid

    @property
    def _num_options(self) -> NDArray[np.int64]:
        return np.array([len(options) for options in self.choices.values()], dtype=np.int64)

    # Checking

    def is_valid(self, archs: ArrayLike) -> NDArray[np.bool_]:
        """Return for every row of `archs` (n, len(choices)) whether it is an architecture.

        Raises
        ------
        InputError
            If `archs` is not a table of integers of that shape.
        """
        rows = self._rows(archs)
        valid: NDArray[np.bool_] = np.all((rows >= 0) & (rows < self._num_options), axis=1)
        return valid

    def validate(self, archs: ArrayLike) -> Archs:
        """Return architectures as an int64 array (n, len(choices)), or refuse them.

        Raises
        ------
        InputError
            If a row is not an architecture of this space.
        """
        rows = self._rows(archs)
        wrong = np.flatnonzero(~self.is_valid(rows))
        if wrong.size:
            row = rows[wrong[0]]
            if np.all((row >= 0) & (row < self._num_options)):
                raise InputError(
                    f"expected an architecture of {self.name}, found options {row.tolist()} in row "
                    f"{wrong[0]}, which do not go together; draw with Space.sample"
                )
            raise InputError(
                f"expected option indices below {self._num_options.tolist()}, found "
                f"{row.tolist()} in row {wrong[0]}; is it of another space than {self.name}?"
            )
        return rows

    def _rows(self, archs: ArrayLike) -> Archs:
        """Return `archs` as an int64 array (n, len(choices)), whatever the values, or refuse it."""
        width = len(self.choices)
        try:
            rows = np.asarray(archs)
        except ValueError as error:
            raise InputError(
                f"expected rows of {width} integers each, found rows of different lengths; "
                f"give one option index for every choice of {self.name}"
            ) from error
        if rows.shape in ((0,), (0, width)):
            return np.empty((0, width), dtype=np.int64)
        if rows.ndim != 2 or rows.shape[1] != width or rows.dtype.kind not in "iu":
            raise InputError(
                f"expected integers of shape (n, {width}), found {rows.dtype} of shape "
                f"{rows.shape}; give one option index for every choice of {self.name}"
            )
        return rows.astype(np.int64)

    def _one(self, arch: ArchLike) -> Arch:
        """Return one architecture as a tuple of plain integers, or refuse it."""
        rows: Any = [arch]
        row: Arch = tuple(self.validate(rows)[0].tolist())
        return row

    # Drawing and moving

    def sample(self, n: int, rng: np.random.Generator, *, distinct: bool = False) -> Archs:
        """Draw architectures uniformly.

        Parameters
        ----------
        n
            How many.
        rng
            The source of randomness.
        distinct
            Whether no two may have the same key.

        Returns
        -------
        array (n, len(choices))
            Option indices.

        Raises
        ------
        InputError
            If `n` is negative, or the space has fewer than `n` distinct architectures.
        """
        if n < 0:
            raise InputError(f"expected at least 0 architectures, found {n}; ask for more")
        if not distinct:
            return self._draw_valid(n, lambda rows: self._draw(len(rows), rng))
        if self.size <= MAX_ENUMERABLE:
            batches: Iterable[Archs] = [rng.permutation(self.iterate())]
        else:
            batches = (self.sample(n, rng) for _ in range(MAX_DRAWS))
        found: dict[str, NDArray[np.int64]] = {}
        for row in chain.from_iterable(batches):
            if len(found) == n:
                break
            found.setdefault(self.key(row), row)
        if len(found) < n:
            raise InputError(
                f"expected {n} distinct architectures, found {len(found)} in {self.name}; "
                "ask for fewer or allow repeats"
            )
        return self._rows(list(found.values()))

    def _draw(self, n: int, rng: np.random.Generator) -> Archs:
        return rng.integers(0, self._num_options, size=(n, len(self.choices)), dtype=np.int64)

    def _draw_valid(self, n: int, draw: Callable[[NDArray[np.int64]], Archs]) -> Archs:
        """Draw rows, and those that are not architectures again; `draw` gets row numbers."""
        rows = draw(np.arange(n))
        for _ in range(MAX_DRAWS):
            wrong = np.flatnonzero(~self.is_valid(rows))
            if not wrong.size:
                return rows
            rows[wrong] = draw(wrong)
        raise InputError(
            f"expected to draw architectures of {self.name}, found hardly any valid combination "
            "of options; declare choices of which more combinations are valid"
        )

    def iterate(self) -> Archs:
        """Return all architectures (n, len(choices)); the last choice changes fastest.

        Raises
        ------
        InputError
            If there are more than about a million.
        """
        if self.size > MAX_ENUMERABLE:
            raise InputError(
                f"expected a space of at most {MAX_ENUMERABLE:,} architectures to enumerate, "
                f"found {self.size:,} in {self.name}; draw a sample instead"
            )
        rows = np.indices(self._num_options.tolist()).reshape(len(self.choices), -1).T
        return np.ascontiguousarray(rows[self.is_valid(rows)], dtype=np.int64)

    def neighbors(self, arch: ArchLike) -> Archs:
        """Return all architectures (m, len(choices)) that differ from `arch` in one choice."""
        base = np.array(self._one(arch), dtype=np.int64)
        rows = []
        for position, options in enumerate(self._num_options):
            for option in range(options):
                if option != base[position]:
                    row = base.copy()
                    row[position] = option
                    rows.append(row)
        neighbors = self._rows(rows)
        return neighbors[self.is_valid(neighbors)]

    def mutate(self, archs: ArrayLike, rng: np.random.Generator, edits: int = 1) -> Archs:
        """Change exactly `edits` choices of every architecture, drawn uniformly.

        Parameters
        ----------
        archs
            Architectures (n, len(choices)).
        rng
            The source of randomness.
        edits
            How many different choices of each to change; each gets another option.

        Returns
        -------
        array (n, len(choices))
            The mutants, row by row.

        Raises
        ------
        InputError
            If `edits` is not between 1 and the number of choices with more than one option.
        """
        rows = self.validate(archs)
        free = np.flatnonzero(self._num_options > 1)
        if not 1 <= edits <= len(free):
            raise InputError(
                f"expected from 1 to {len(free)} edits, found {edits}; {self.name} has "
                f"{len(free)} choices that can change"
            )

        def draw(numbers: NDArray[np.int64]) -> Archs:
            mutants = rows[numbers]
            # The positions of the smallest of independent uniform numbers are a random subset.
            order = rng.random((len(mutants), len(free))).argsort(axis=1)
            positions = free[order[:, :edits]]
            options = self._num_options[positions]
            old = np.take_along_axis(mutants, positions, axis=1)
            new = (old + rng.integers(1, options)) % options
            np.put_along_axis(mutants, positions, new, axis=1)
            return mutants

        return self._draw_valid(len(rows), draw)

    # Text

    def format(self, arch: ArchLike) -> str:
        """Return an architecture in native text: by default its options, joined by commas."""
        return ",".join(self.params(arch).values())

    def parse(self, text: str) -> Arch:
        """Read an architecture in native text.

        Raises
        ------
        InputError
            If it is malformed; the message gives the first wrong piece and its position, counted
            in characters from 1.
        """
        pieces = text.split(",")
        arch: list[int] = []
        position = 1
        for (name, options), piece in zip(self.choices.items(), pieces, strict=False):
            if piece not in options:
                raise InputError(
                    f"expected for {name} one of {', '.join(options)} at character {position}, "
                    f"found {piece[:40]!r}; write the {len(self.choices)} options with commas"
                )
            arch.append(options.index(piece))
            position += len(piece) + 1
        if len(pieces) != len(self.choices):
            raise InputError(
                f"expected {len(self.choices)} options, found {len(pieces)} before character "
                f"{len(text) + 1}; write one option for each of {', '.join(self.choices)}"
            )
        return tuple(arch)

    def format_all(self, archs: ArrayLike) -> list[str]:
        """Return architectures (n, len(choices)) in native text."""
        return [self.format(arch) for arch in self.validate(archs)]

    def parse_all(self, texts: Iterable[str]) -> Archs:
        """Read architectures in native text, as an array (n, len(choices)).

        Raises
        ------
        InputError
            If one is malformed; the message also gives its number, counted from 1.
        """
        rows = []
        for number, text in enumerate(texts, start=1):
            try:
                rows.append(self.parse(text))
            except InputError as error:
                raise InputError(f"architecture {number}: {error}") from error
        return self._rows(rows)

    # Graphs and keys

    def graphs(self, archs: ArrayLike) -> list[ArchGraph]:
        """Return the labelled graphs of architectures (n, len(choices))."""
        return [self.graph(arch) for arch in self.validate(archs)]

    def graph_batch(self, archs: ArrayLike) -> GraphBatch:
        """Return the labelled graphs of architectures (n, len(choices)) as arrays.

        Encoders take them as they take the graphs themselves.
        """
        return GraphBatch.of(self.graphs(archs), self.operations)

    def key(self, arch: ArchLike) -> str:
        """Return 32 hexadecimal digits: equal for architectures that count as the same.

        By default the key of the graph, see `encoders.ArchGraph.key`.
        """
        return self._whole_graph(arch).key()

    def _whole_graph(self, arch: ArchLike) -> ArchGraph:
        """Return the graph by which architectures are told apart, if `graph` shows less."""
        return self.graph(arch)

    def keys(self, archs: ArrayLike) -> list[str]:
        """Return the keys of architectures (n, len(choices))."""
        return [self.key(arch) for arch in self.validate(archs)]

    # Optuna

    def distributions(self) -> "dict[str, optuna.distributions.BaseDistribution]":
        """Return for every choice the categorical distribution over its options."""
        from optuna.distributions import CategoricalDistribution

        return {name: CategoricalDistribution(options) for name, options in self.choices.items()}

    def suggest(self, trial: "optuna.trial.BaseTrial") -> Arch:
        """Ask an Optuna trial for every choice, and return the architecture."""
        return self.from_params(
            {name: trial.suggest_categorical(name, opts) for name, opts in self.choices.items()}
        )

    def params(self, arch: ArchLike) -> dict[str, str]:
        """Return for every choice the option that `arch` takes."""
        return {
            name: options[index]
            for (name, options), index in zip(self.choices.items(), self._one(arch), strict=True)
        }

    def from_params(self, params: Mapping[str, Any]) -> Arch:
        """Return the architecture that takes the given option for every choice.

        Raises
        ------
        InputError
            If a choice is missing or unknown, or an option is not one of its choice.
        """
        if params.keys() != self.choices.keys():
            raise InputError(
                f"expected the choices {', '.join(self.choices)}, found "
                f"{', '.join(map(str, params)) or 'none'}; is this of another space than "
                f"{self.name}?"
            )
        for name, options in self.choices.items():
            if params[name] not in options:
                raise InputError(
                    f"expected for {name} one of {', '.join(options)}, found {params[name]!r}; "
                    f"is this of another space than {self.name}?"
                )
        return self._one([opts.index(params[name]) for name, opts in self.choices.items()])

    # Building

    def _scale(self, scale: Mapping[str, int]) -> dict[str, int]:
        """Complete the arguments that set a network's size, or refuse them."""
        for name, value in scale.items():
            if name not in self.default_scale:
                raise InputError(
                    f"expected a scale among {', '.join(self.default_scale)}, found {name}; "
                    f"remove it for {self.name}"
                )
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(
                    f"expected {name} as a whole number of at least 1, found {value!r}; "
                    f"the default is {self.default_scale[name]}"
                )
        return {**self.default_scale, **scale}
