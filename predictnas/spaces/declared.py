"""Spaces that users declare: choices, conditions between them, and how to build a network."""

import functools
import hashlib
import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders import IDENTITY, INPUT, OUTPUT, ZERO, ArchGraph, EncodingError, trace_graph
from predictnas.errors import CandidateError, InputError, PredictNASError, is_out_of_memory
from predictnas.spaces.base import Arch, ArchLike, Space
from predictnas.spaces.declaration import (
    Option,
    option_text,
    read_choices,
    read_conditions,
    read_name,
)
from predictnas.spaces.survey import covering_architectures

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DeclaredSpace"]

OTHER = "other"
# Two images, since batch normalisation cannot be trained on one value.
_BATCH = 2
_CLASSES = 10


class DeclaredSpace(Space):
    """A space of your own: a class with choices and a `build`.

    Options are texts, numbers or truth values; in native text and in studies they are texts, in
    `options` what they were declared as. A choice may exist only with certain options of earlier
    choices: ``conditions = {"width_2": {"layers": (2, 3)}}``. Where it does not exist it keeps an
    option, which nothing depends on, so that every combination is an architecture and every
    searcher may propose it.

    `build` is called with an architecture of the space, three whole numbers from 1, a number of
    classes from 1, and all of `default_scale`, if the class has one. What it returns is tried on
    two images in evaluation mode, which also settles lazy layers. Where that fails the candidate
    has failed, and a search goes on; say in `is_valid` which combinations are none.

    Two architectures count as the same where the same choices exist and have the same options.
    ``key = Space.key`` in the class counts those as the same that have the same graph: then
    nothing may matter that the graph does not show, such as how weights are initialised.

    The graph is traced from the network, as it trains on images of `example_shape`, see
    `encoders.trace_graph`; a space that overrides `graph` declares `operations`, all that these
    graphs carry. No graph may be without a path from input to output. The operations of
    traced graphs, and the number of nodes that all of them are filled up to, are those of a few
    dozen architectures that show all pairs of options; what else turns up is ``other``. That, and
    every graph, takes a trace of 0.02 to 1 seconds, once.

    `network_source` is for a class to define; without it, exports do without Python source.

    Attributes
    ----------
    name
        What studies are named after; the name of the class where it is left out. Change it when
        `build` changes what it builds: labels of one name are taken to mean the same.
    conditions
        For a choice the options of earlier choices with which it exists.
    values
        For every choice its options as they were declared.
    example_shape
        Channels, height and width of the images that graphs are traced with.

    Examples
    --------
    >>> from torch import nn
    >>> class Perceptrons(DeclaredSpace):
    ...     choices = {"width": (16, 32), "hidden": (False, True), "dropout": (0.0, 0.5)}
    ...     conditions = {"dropout": {"hidden": (True,)}}
    ...
    ...     def build(self, arch, input_shape, num_classes):
    ...         chosen = self.options(arch)
    ...         layers = [nn.Flatten(), nn.LazyLinear(chosen["width"]), nn.ReLU()]
    ...         if chosen["hidden"]:
    ...             layers += [nn.LazyLinear(chosen["width"]), nn.Dropout(chosen["dropout"])]
    ...         return nn.Sequential(*layers, nn.LazyLinear(num_classes))
    >>> space = Perceptrons()
    >>> space.parse("16,False,0.5")
    (0, 0, 1)
    >>> space.options((0, 0, 1))
    {'width': 16, 'hidden': False}
    >>> space.key((0, 0, 1)) == space.key((0, 0, 0))
    True
    """

    choices: Mapping[str, Any]
    conditions: Mapping[str, Any] = MappingProxyType({})
    values: Mapping[str, tuple[Option, ...]]
    example_shape: tuple[int, int, int] = (3, 32, 32)

    def __init_subclass__(cls, **options: Any) -> None:
        """Read what the class declares.

        Raises
        ------
        InputError
            If a name, a choice or a condition is malformed.
        """
        super().__init_subclass__(**options)
        declared = vars(cls)
        cls.name = read_name(declared.get("name", cls.__name__))
        if "choices" in declared:
            cls.values = read_choices(cls.name, declared["choices"])
            cls.choices = MappingProxyType(
                {name: tuple(map(option_text, values)) for name, values in cls.values.items()}
            )
        if hasattr(cls, "choices"):
            cls.conditions = read_conditions(cls.name, cls.conditions, cls.choices)
        if "build" in declared:
            if not hasattr(cls, "choices"):
                raise InputError(
                    f"{cls.name}: expected choices beside build, found none; "
                    'declare them like choices = {"width": (32, 64)}'
                )
            cls.build = _checked(declared["build"])  # type: ignore[method-assign]
        if "graph" in declared:
            cls.graph = _checked_graph(declared["graph"])  # type: ignore[method-assign]

    @property
    def identity(self) -> str:
        """The name with choices and conditions."""
        return f"{self.name}: " + "; ".join(
            "=".join([choice, "|".join(options)])
            + "".join(
                f" if {other}={'|'.join(wanted)}"
                for other, wanted in self.conditions.get(choice, {}).items()
            )
            for choice, options in self.choices.items()
        )

    def options(self, arch: ArchLike) -> dict[str, Option]:
        """Return for every choice that exists in `arch` its option, as it was declared."""
        one = self._one(arch)
        names = list(self.choices)
        return {names[i]: self.values[names[i]][one[i]] for i in self._active(one)}

    def from_params(self, params: Mapping[str, Any]) -> Arch:
        """Return the architecture that takes the given option, or its text, for every choice.

        Raises
        ------
        InputError
            If a choice is missing or unknown, or an option is not one of its choice.
        """
        return super().from_params({name: option_text(params[name]) for name in params})

    def key(self, arch: ArchLike) -> str:
        """Return 32 hexadecimal digits: of the choices that exist and their options."""
        chosen = {name: option_text(option) for name, option in self.options(arch).items()}
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:32]

    def graph(self, arch: ArchLike) -> ArchGraph:
        """Return the traced graph of the network, filled up with zeros to the size of others.

        Raises
        ------
        InputError
            If the network cannot be built or traced, or its output does not depend on its input.
        """
        graph = self._traced(self._one(arch))
        known = {INPUT, OUTPUT, *self.operations}
        operations = [name if name in known else OTHER for name in graph.operations]
        # Behind the last node, so that those before keep their places.
        missing = range(graph.num_nodes, self._survey[1])
        last = graph.topological_order()[-2]
        edges = (*graph.edges, *((last, node) for node in missing))
        return ArchGraph((*operations, *(ZERO for _ in missing)), edges)

    def _whole_graph(self, arch: ArchLike) -> ArchGraph:
        """Return the graph without any ``other`` of a trace, by which different ones are equal."""
        if type(self).graph is DeclaredSpace.graph:
            return self._traced(self._one(arch))
        return self.graph(arch)

    @cached_property
    def operations(self) -> tuple[str, ...]:  # type: ignore[override]
        """The operations of traced graphs, without input and output."""
        return self._survey[0]

    def network_source(
        self, arch: ArchLike, input_shape: Sequence[int], num_classes: int, **scale: int
    ) -> str:
        """Raise, for there is no Python source that needs torch alone.

        Raises
        ------
        InputError
            Always.
        """
        del arch, input_shape, num_classes, scale
        raise InputError(
            f"{self.name} has no Python source that needs torch alone; define network_source in "
            "the class to have it"
        )

    def _active(self, arch: Arch) -> list[int]:
        """Return the numbers of the choices that exist in an architecture."""
        found: dict[str, str] = {}
        active = []
        for number, (choice, options) in enumerate(self.choices.items()):
            required = self.conditions.get(choice, {})
            if all(found.get(other) in wanted for other, wanted in required.items()):
                found[choice] = options[arch[number]]
                active.append(number)
        return active

    @cached_property
    def _traces(self) -> dict[str, ArchGraph]:
        """The graphs traced so far, by what distinguishes networks."""
        return {}

    def _traced(self, arch: Arch) -> ArchGraph:
        key = DeclaredSpace.key(self, arch)
        if key not in self._traces:
            self._traces[key] = self._trace(arch)
        return self._traces[key]

    def _trace(self, arch: Arch) -> ArchGraph:
        import torch

        try:
            with torch.random.fork_rng():
                network = self.build(arch, self.example_shape, _CLASSES)
            graph = trace_graph(network, torch.zeros(_BATCH, *self.example_shape))
        except CandidateError as error:
            raise InputError(
                f"{error}, on images of example_shape {self.example_shape}; let is_valid refuse it"
            ) from error
        except EncodingError as error:
            raise InputError(f"{self.name}, {self.format(arch)}: {error}") from error
        if not _has_path(graph):
            raise InputError(
                f"{self.name}, {self.format(arch)}: expected a network whose output depends on "
                "its input, found no path between them in its graph; let is_valid refuse it"
            )
        return graph

    @cached_property
    def _survey(self) -> tuple[tuple[str, ...], int]:
        """The operations of the space, and the largest number of nodes."""
        archs = covering_architectures(self, self._active, np.random.default_rng(0))
        graphs = [self._traced(arch) for arch in archs]
        sizes = np.array([graph.num_nodes for graph in graphs])
        # The largest graph, if every choice adds to the number of nodes on its own.
        largest = tuple(
            int(np.argmax(np.bincount(column, sizes) / np.maximum(np.bincount(column), 1)))
            for column in np.array(archs).T
        )
        if self.is_valid([largest])[0]:
            graphs.append(self._traced(largest))
        found = set().union(*(graph.operations for graph in graphs))
        named = sorted(found - {INPUT, OUTPUT, IDENTITY})
        return (*named, OTHER, IDENTITY, ZERO), max(graph.num_nodes for graph in graphs)


def _checked(build: Callable[..., Any]) -> Callable[..., "nn.Module"]:
    """Return a user's `build` that takes what spaces take and returns networks that work."""

    @functools.wraps(build)
    def checked(
        self: DeclaredSpace,
        arch: ArchLike,
        input_shape: Sequence[int],
        num_classes: int,
        **scale: int,
    ) -> "nn.Module":
        from torch import nn

        one = self._one(arch)
        sizes = self._scale(scale)
        shape = tuple(input_shape)
        if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
            raise InputError(
                f"expected images of shape (channels, height, width), found {shape}; "
                "give three whole numbers"
            )
        if num_classes < 1:
            raise InputError(f"expected at least one class, found {num_classes}; count the labels")
        try:
            network = build(self, one, shape, num_classes, **sizes)
            if not isinstance(network, nn.Module):
                raise InputError(
                    f"{self.name}: expected a torch.nn.Module from build, found "
                    f"{type(network).__name__}; return the network"
                )
            given = _try_out(network, shape)
        except PredictNASError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise  # which is told as such where networks are trained and scored
            raise CandidateError(
                f"{self.name}: {self.format(one)} failed with {_told(error, build)}"
            ) from error
        if given != (_BATCH, num_classes):
            raise CandidateError(
                f"{self.name}: {self.format(one)} gives outputs of shape {given} for {_BATCH} "
                f"images, where ({_BATCH}, {num_classes}) is expected"
            )
        return network

    return checked


def _checked_graph(graph: Callable[..., Any]) -> Callable[..., ArchGraph]:
    """Return a user's `graph` that returns what encoders and predictors can take."""

    @functools.wraps(graph)
    def checked(self: DeclaredSpace, arch: ArchLike) -> ArchGraph:
        one = self._one(arch)
        where = f"{self.name}, {self.format(one)}"
        try:
            given = graph(self, one)
        except PredictNASError:
            raise
        except EncodingError as error:
            raise InputError(f"{where}: {error}") from error
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise InputError(f"{where}: graph failed with {_told(error, graph)}") from error
        if not isinstance(given, ArchGraph):
            raise InputError(
                f"{where}: expected an encoders.ArchGraph from graph, found "
                f"{type(given).__name__}; return the graph"
            )
        unknown = sorted(set(given.operations) - {INPUT, OUTPUT, *self.operations})
        if unknown:
            raise InputError(
                f"{where}: expected a graph of the operations {', '.join(self.operations)}, found "
                f"{', '.join(unknown)}; add it to `operations`"
            )
        if not _has_path(given):
            raise InputError(
                f"{where}: expected a graph with a path from input to output, found none; add the "
                "edges that are missing, or let is_valid refuse it"
            )
        return given

    return checked


def _has_path(graph: ArchGraph) -> bool:
    """Return whether a path leads from input to output, and not through zeros."""
    reached: set[int] = set()
    for node in graph.topological_order():
        operation = graph.operations[node]
        if operation == INPUT or (
            operation != ZERO and not reached.isdisjoint(graph.predecessors[node])
        ):
            reached.add(node)
    return graph.operations.index(OUTPUT) in reached


def _try_out(network: "nn.Module", shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of what a network gives for two images; its modes come back."""
    import torch

    modes = {module: module.training for module in network.modules()}
    network.eval()
    with torch.no_grad():
        logits = network(torch.zeros(_BATCH, *shape))
    for module, training in modes.items():
        module.training = training
    return tuple(logits.shape)


def _told(error: Exception, method: Callable[..., Any]) -> str:
    """Return an error in one line, with the line of the file of a method that it came from."""
    path = method.__code__.co_filename
    frames = traceback.extract_tb(error.__traceback__)
    lines = [str(frame.lineno) for frame in frames if frame.filename == path]
    first = (str(error).strip().splitlines() or [""])[0]
    where = f" ({Path(path).name}, line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {first}{where}"
