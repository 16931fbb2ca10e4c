"""The graph of any network of torch, traced through ``torch.export``."""

import contextlib
import io
import logging
import operator
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from encoders.arch_graph import ArchGraph
from encoders.canonical import IDENTITY, INPUT, OUTPUT, ZERO
from encoders.errors import EncodingError
from encoders.operation_names import (
    Operand,
    base_name,
    is_value_free,
    moved,
    operation_name,
)

if TYPE_CHECKING:
    from torch import Tensor, fx, nn
    from torch.export import ExportedProgram

__all__ = ["trace_graph"]

# What is told of the error of an export, whose whole text may fill a screen.
MAX_REASON = 160


def trace_graph(
    module: "nn.Module", example_inputs: "Tensor | Sequence[Any]", *, widths: bool = True
) -> ArchGraph:
    """Return the graph of a network: the operations that compute, and what they take.

    The network is exported in the mode that it is in, so that dropout shows in training and not in
    evaluation; it comes back as it was. Nothing is computed, so example inputs may hold any
    numbers.

    Nodes are named by kind: ``conv_3x3``, ``depthwise_conv_5x5_stride2``, ``linear``,
    ``batch_norm``, ``relu``, ``max_pool_2x2_stride2``, ``global_avg_pool``, ``attention``,
    ``concat``, ``matmul``, ``dropout_0.2`` and so on; what is not known by name has that of its
    operator. What has weights tells after a slash how many channels, features or (for attention)
    heads it gives: ``conv_3x3/64``.

    - A sum is an identity with an edge from each summand, two from a value that is added to itself.
    - What only rearranges, pads or selects leaves no trace, so the parts of a value that was split
      are that value. Nor do sums and products with constants or parameters; a product with 0 is
      zero.
    - Operands of products, concatenations and attention are not ordered.
    - All inputs are the one input, all outputs the one output. Parameters, buffers and constants
      are no nodes, and what does not lead to an output is left out.

    Parameters
    ----------
    module
        The network.
    example_inputs
        What it is called with: a tensor, or a sequence of positional arguments.
    widths
        Whether names tell numbers of outputs.

    Raises
    ------
    EncodingError
        If the network cannot be exported, for instance because its control flow depends on data.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())
    >>> trace_graph(network, torch.zeros(2, 8))
    ArchGraph(operations=('input', 'linear/4', 'relu', 'output'), edges=((0, 1), (1, 2), (2, 3)))
    """
    from torch import Tensor

    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    program = _export(module, inputs)
    signature = program.graph_signature
    wiring = _Wiring(widths)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in signature.user_inputs:
            wiring.sources[node] = 0
        elif node.op == "call_function":
            wiring.call(node)
        elif node.op == "output":
            kept = [part for part in _nodes(node.args) if part.name in signature.user_outputs]
            return wiring.graph(kept)
    raise AssertionError("a graph of torch.fx ends in its outputs")


def _export(module: "nn.Module", inputs: tuple[Any, ...]) -> "ExportedProgram":
    """Export a network, without writes in place where later reads would miss them."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise EncodingError(
            f"expected a torch.nn.Module to trace, found {type(module).__name__}; wrap it into one"
        )
    try:
        with _quiet(), torch.random.fork_rng():
            program = torch.export.export(module, inputs, strict=False)
            if _needs_functions(program.graph):
                program = program.run_decompositions({})
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:MAX_REASON]
        raise EncodingError(
            f"expected a network that torch.export can trace, found {type(error).__name__} in "
            f"{type(module).__name__}: {reason}; check the example inputs, take out control flow "
            "that depends on data, or give the graph by hand"
        ) from error
    return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch says of exports off the terminal; exceptions pass."""
    disabled = logging.root.manager.disable
    logging.disable()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _needs_functions(graph: "fx.Graph") -> bool:
    """Return whether a value is read whose storage was written to through another one.

    Blocks with their own autograd mode count too: decomposing dissolves them.
    """
    storage: dict[fx.Node, fx.Node] = {}
    stale: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "call_function" and _operator(node).startswith("wrap_with"):
            return True
        if any(part in stale for part in _nodes((node.args, node.kwargs))):
            return True
        first = next(_nodes(node.args), None)
        if first is None or node.op != "call_function":
            continue
        writes = _operator(node).endswith("_")
        if writes or moved(_operator(node)) == "first":
            storage[node] = storage.get(first, first)
        if writes:
            stale.update(other for other in storage if storage[other] == storage[node])
            stale.add(storage[node])
            stale.discard(node)
    return False


class _Wiring:
    """The graph under construction.

    Attributes
    ----------
    sources
        For every value that depends on the input, the node of our graph that gives it.
    """

    def __init__(self, widths: bool) -> None:
        self.widths = widths
        self.operations = [INPUT]
        self.edges: list[tuple[int, int]] = []
        self.sources: dict[fx.Node, int] = {}

    def call(self, node: "fx.Node") -> None:
        """Take up one operation; nothing, where its result does not depend on the input."""
        called = _operator(node)
        if is_value_free(called):
            return
        arguments = _arguments(node)
        passed = moved(called)
        if passed is not None:
            first = arguments["src"] if passed == "src" else node.args[0]
            values = list(_nodes(first))
        else:
            values = list(_nodes(arguments.values()))
        taken = [self.sources[value] for value in values if value in self.sources]
        if not taken:
            return
        name = base_name(called)
        if name in ("add", "sub", "rsub"):
            self.sources[node] = self._node(IDENTITY, self._summands(name, arguments))
            return
        described = {key: self._described(value) for key, value in arguments.items()}
        kind, width = operation_name(called, described, _shape(node))
        if kind != ZERO:
            label = kind if width is None or not self.widths else f"{kind}/{width}"
            self.sources[node] = self._node(label, taken)

    def graph(self, outputs: "Iterable[fx.Node]") -> ArchGraph:
        """Return the graph that leads to `outputs`."""
        ends = [self.sources[value] for value in outputs if value in self.sources]
        predecessors: dict[int, list[int]] = {}
        for source, target in self.edges:
            predecessors.setdefault(target, []).append(source)
        alive, waiting = {0}, ends.copy()
        while waiting:
            node = waiting.pop()
            if node not in alive:
                alive.add(node)
                waiting += predecessors[node]
        number = {node: index for index, node in enumerate(sorted(alive))}
        edges = [(number[s], number[t]) for s, t in self.edges if s in alive and t in alive]
        edges += [(number[end], len(number)) for end in ends]
        return ArchGraph((*(self.operations[node] for node in number), OUTPUT), tuple(edges))

    def _node(self, label: str, taken: Sequence[int]) -> int:
        """Return the number of a new node, or of the one that an identity passes on."""
        if label == IDENTITY and len(taken) == 1:
            return taken[0]
        self.operations.append(label)
        number = len(self.operations) - 1
        self.edges += [(source, number) for source in taken]
        return number

    def _summands(self, name: str, arguments: dict[str, Any]) -> list[int]:
        """Return the nodes that a sum or difference adds up; what is subtracted is negated."""
        negated = {"add": None, "sub": "other", "rsub": "self"}[name]
        summands = []
        for key in ("self", "other"):
            source = self.sources.get(arguments[key])
            if source is not None:
                summands.append(self._node("neg", [source]) if key == negated else source)
        return summands

    def _described(self, value: Any) -> Any:
        """Return an argument with tensors as operands."""
        from torch import fx

        if isinstance(value, fx.Node):
            return Operand(_shape(value), value in self.sources)
        if isinstance(value, (list, tuple)):
            return [self._described(part) for part in value]
        return value


def _operator(node: "fx.Node") -> str:
    """Return the name of what a node calls, without namespace and overload."""
    if node.target is operator.getitem:
        return "getitem"
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        return str(schema.name).partition("::")[2]
    return str(getattr(node.target, "__name__", node.target))


def _arguments(node: "fx.Node") -> dict[str, Any]:
    """Return the arguments of a call by name, defaults included."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {**{str(index): value for index, value in enumerate(node.args)}, **node.kwargs}
    names = [argument.name for argument in schema.arguments]
    defaults = {
        argument.name: argument.default_value
        for argument in schema.arguments
        if argument.has_default_value()
    }
    return {**defaults, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def _nodes(value: Any) -> "Iterator[fx.Node]":
    """Yield the nodes among arguments, also those in lists and dictionaries."""
    from torch import fx

    if isinstance(value, fx.Node):
        yield value
    elif isinstance(value, dict):
        yield from _nodes(list(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for part in value:
            yield from _nodes(part)


def _shape(node: "fx.Node") -> tuple[int, ...]:
    """Return the shape of a value, of its first part where it has several."""
    value = node.meta.get("val")
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return tuple(int(size) for size in getattr(value, "shape", ()))
