"""The names that operations of torch get in traced graphs.

Names are made of what distinguishes architectures and stays the same from one version of torch to
the next: the kind of the operation, the kernel, stride and dilation of convolutions and pools, the
rate of dropout, and the number of outputs of what has weights. Nothing here needs torch.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from encoders.canonical import IDENTITY, ZERO

__all__ = ["Operand", "base_name", "is_value_free", "moved", "operation_name"]


@dataclass(frozen=True)
class Operand:
    """A tensor among the arguments of an operation.

    Parameters
    ----------
    shape
        Its sizes.
    computed
        Whether it depends on the network's input; parameters and constants do not.
    """

    shape: tuple[int, ...]
    computed: bool


@dataclass(frozen=True)
class _Call:
    """An operation with its arguments by name and the shape of its first result."""

    name: str
    dimensions: int
    arguments: Mapping[str, Any]
    output: tuple[int, ...]

    @property
    def computed(self) -> int:
        """How many operands depend on the network's input."""
        return sum(operand.computed for operand in operands(self.arguments.values()))

    def sizes(self, argument: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """Return an argument as one number for every dimension of an image."""
        value = self.arguments.get(argument) or default
        sizes = (value,) if isinstance(value, int) else tuple(value)
        return sizes * self.dimensions if len(sizes) == 1 else sizes


Name: TypeAlias = tuple[str, int | None]
"""What an operation is, and its number of outputs where it has weights."""

# What rearranges, copies, pads or selects numbers of its first operand.
_MOVES = re.compile(
    r"alias|chunk|clone|contiguous|detach|expand(_as)?|flatten|flip|getitem|lift(_fresh)?(_copy)?"
    r"|move(dim|axis)|narrow|numpy_T|(constant_|reflection_|replication_)?pad|permute"
    r"|pixel_(un)?shuffle|channel_shuffle|repeat(_interleave)?|reshape(_as)?|roll|select|slice"
    r"|(unsafe_|tensor_)?split(_with_sizes)?|squeeze|swap(axes|dims)|t|tile|to|to_copy|transpose"
    r"|type_as|unbind|unflatten|unfold|unsafe_chunk|unsqueeze|(unsafe_)?view(_as\w*)?"
)
# The same for those whose result may depend on computed indices as well.
_SELECTIONS = re.compile(r"gather|index(_select)?|take(_along_dim)?")
_JOINS = re.compile(r"(column_|[dhv]?)stack|cat|concat(enate)?|index_put|(select|slice)_scatter")
_VALUE_FREE = re.compile(r"(zeros|ones|empty|full|rand|randn|randint)_like|new_\w+|size|sym_\w+")
_PRODUCTS = ("addbmm", "addmm", "addmv", "baddbmm", "bmm", "einsum", "linear", "matmul", "mm", "mv")


def base_name(operator: str) -> str:
    """Return an operator's name without dimension, backend and mark of writing in place.

    Examples
    --------
    >>> [base_name(name) for name in ("conv2d", "relu_", "_native_batch_norm_legit_functional")]
    ['conv', 'relu', 'batch_norm']
    """
    name = re.sub(r"([123]|_n)d(?=_|$)", "", operator.strip("_"))
    name = re.sub(r"^(native|cudnn|fused)_(?=\w+_norm|dropout)", "", name)
    return re.sub(r"_(legit\w*|functional|with_indices)$", "", name)


def is_value_free(operator: str) -> bool:
    """Return whether an operator looks at the shape or type of its operand alone."""
    return _VALUE_FREE.fullmatch(base_name(operator)) is not None


def moved(operator: str) -> str | None:
    """Return which argument's numbers an operator passes on: ``"first"``, ``"src"`` or None."""
    name = base_name(operator)
    if name == "copy":
        return "src"
    return "first" if _MOVES.fullmatch(name) else None


def operands(values: Iterable[Any]) -> Iterator[Operand]:
    """Yield the tensors among arguments, also those in lists."""
    for value in values:
        if isinstance(value, Operand):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from operands(value)


def operation_name(operator: str, arguments: Mapping[str, Any], output: Sequence[int]) -> Name:
    """Return the name of an operation, and its number of outputs where it has weights.

    Parameters
    ----------
    operator
        The operator, such as ``"conv2d"``.
    arguments
        Its arguments by name; tensors as `Operand`.
    output
        The shape of its first result.

    Returns
    -------
    name, width
        The identity for what rearranges or selects, and for sums and products with constants; zero
        for a product with 0; otherwise the kind.

    Examples
    --------
    >>> weight, image = Operand((64, 1, 5, 5), False), Operand((2, 64, 8, 8), True)
    >>> arguments = {"input": image, "weight": weight, "stride": [2, 2], "groups": 64}
    >>> operation_name("conv2d", arguments, (2, 64, 4, 4))
    ('depthwise_conv_5x5_stride2', 64)
    """
    dimensions = re.search(r"([123])d(?:_|$)", operator)
    name = base_name(operator)
    call = _Call(name, int(dimensions[1]) if dimensions else 1, arguments, tuple(output))
    if moved(operator) is not None:
        return IDENTITY, None
    if _SELECTIONS.fullmatch(name):
        return (name if call.computed > 1 else IDENTITY), None
    if _JOINS.fullmatch(name):
        return ("concat" if call.computed > 1 else IDENTITY), None
    if name in _RULES:
        return _RULES[name](call)
    return name, None


def _convolution(call: _Call) -> Name:
    weight, groups = call.arguments["weight"].shape, call.arguments.get("groups", 1)
    transposed = call.name == "conv_transpose"
    inputs, outputs = (
        (weight[0], weight[1] * groups) if transposed else (weight[1] * groups, weight[0])
    )
    kind = "transposed_conv" if transposed else "conv"
    if groups > 1:
        kind = f"{'depthwise' if groups == inputs else 'group'}_{kind}"
    return f"{kind}_{_by(weight[2:])}{_steps(call)}", outputs


def _pool(kind: str, call: _Call) -> Name:
    kernel = call.sizes("kernel_size")
    if kernel == call.arguments[_first(call)].shape[-len(kernel) :] and not any(
        call.sizes("padding", (0,))
    ):
        return f"global_{kind}_pool", None
    # Where no stride is given it is the kernel.
    return f"{kind}_pool_{_by(kernel)}{_steps(call, kernel)}", None


def _adaptive_pool(kind: str, call: _Call) -> Name:
    sizes = call.sizes("output_size")
    if all(size == 1 for size in sizes):
        return f"global_{kind}_pool", None
    if sizes == call.arguments[_first(call)].shape[-len(sizes) :]:
        return IDENTITY, None
    return f"adaptive_{kind}_pool_{_by(sizes)}", None


def _reduction(kind: str, call: _Call) -> Name:
    """Name a reduction over all positions of an image after the pooling that it is."""
    rank = len(call.arguments[_first(call)].shape)
    axes = call.arguments.get("dim")
    axes = [axes] if isinstance(axes, int) else axes or range(rank)
    if rank > 2 and {axis % rank for axis in axes} == set(range(2, rank)):
        return f"global_{kind}_pool", None
    return call.name, None


def _product(call: _Call) -> Name:
    return ("matmul", None) if call.computed > 1 else ("linear", call.output[-1])


def _scaling(call: _Call) -> Name:
    if call.computed > 1:
        return call.name, None
    own, other = call.arguments.get("self"), call.arguments.get("other")
    if call.name == "div" and not (isinstance(own, Operand) and own.computed):
        return "reciprocal", None
    return (
        ZERO if call.name == "mul" and not isinstance(other, Operand) and other == 0 else IDENTITY
    ), None


def _dropout(call: _Call) -> Name:
    rate = call.arguments["p"]
    active = rate > 0 and call.arguments.get("train", True)
    return (f"{call.name}_{rate:g}" if active else IDENTITY), None


def _attention(call: _Call) -> Name:
    query, rate = call.arguments["query"].shape, call.arguments.get("dropout_p", 0.0)
    return (f"attention_dropout_{rate:g}" if rate else "attention"), (
        query[-3] if len(query) > 3 else 1
    )


def _recurrence(call: _Call) -> Name:
    layers = call.arguments["num_layers"]
    name = ("bidirectional_" if call.arguments["bidirectional"] else "") + call.name
    # The second parameter maps the hidden state to the gates.
    hidden = call.arguments["params"][1].shape[-1]
    return (f"{name}_{layers}_layers" if layers > 1 else name), hidden


def _clamp(call: _Call) -> Name:
    low = call.arguments.get("min_val", call.arguments.get("min"))
    high = call.arguments.get("max_val", call.arguments.get("max"))
    known = {(0, None): "relu", (0, 6): "relu6"}
    return known.get((low, high), call.name), None


def _embedding(call: _Call) -> Name:
    return "embedding", call.arguments["weight"].shape[-1]


_RULES: dict[str, Callable[[_Call], Name]] = {
    "conv": _convolution,
    "conv_transpose": _convolution,
    **{f"{kind}_pool": partial(_pool, kind) for kind in ("avg", "max")},
    **{f"adaptive_{kind}_pool": partial(_adaptive_pool, kind) for kind in ("avg", "max")},
    "mean": partial(_reduction, "avg"),
    "amax": partial(_reduction, "max"),
    **dict.fromkeys(_PRODUCTS, _product),
    **dict.fromkeys(("mul", "div"), _scaling),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout"), _dropout),
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrence),
    **dict.fromkeys(("hardtanh", "clamp", "clamp_min"), _clamp),
    "embedding": _embedding,
}


def _first(call: _Call) -> str:
    return "input" if "input" in call.arguments else "self"


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _steps(call: _Call, stride: Sequence[int] = (1,)) -> str:
    """Return the parts of a name that tell strides and dilations other than one."""
    parts = ""
    for argument, default in (("stride", stride), ("dilation", (1,))):
        sizes = call.sizes(argument, default)
        if any(size > 1 for size in sizes):
            same = len(set(sizes)) == 1
            parts += f"_{argument}{sizes[0] if same else _by(sizes)}"
    return parts
