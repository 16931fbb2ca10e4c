"""The cost passes: what a forward pass keeps for training, and how deep it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from proxies.errors import UndefinedProxyError
from proxies.passes.graph import live_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from proxies.subject import Subject

__all__ = ["depth", "saved_bytes"]

# Name of the autograd node without its counter → at which position its kernel stands.
_CONVOLUTIONS = {
    "ConvolutionBackward": 1,
    "MpsConvolutionBackward": 1,
    "MpsConvolutionTransposeBackward": 1,
}
# Products of matrices → at which position the first factor stands.
_PRODUCTS = {
    "AddbmmBackward": 1,
    "AddmmBackward": 1,
    "AddmvBackward": 1,
    "BaddbmmBackward": 1,
    "BmmBackward": 0,
    "DotBackward": 0,
    "LinearBackward": 0,
    "MmBackward": 0,
    "MvBackward": 0,
}
# Nodes behind which several layers are hidden: recurrent layers over all their steps in one
# kernel, and checkpoints that run their layers without a graph.
_OPAQUE = frozenset(
    {
        *("CudnnRnnBackward", "LstmMpsBackward", "MiopenRnnBackward", "MkldnnRnnLayerBackward"),
        "CheckpointFunctionBackward",
    }
)


class _Saved:
    """A tensor that autograd saved, and which storage it keeps alive."""

    def __init__(self, tensor: torch.Tensor, place: torch.device) -> None:
        storage = tensor.untyped_storage()
        # A weak reference keeps the identity from being given to another storage.
        self.storage = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        self.size = storage.nbytes()
        self.device = tensor.device
        self.value = tensor.detach().to(place)


def saved_bytes(subject: Subject) -> float:
    """Return the bytes that training keeps for the backward pass, per sample of the batch.

    What autograd holds on to after one forward pass on the batch in training mode, without
    dropout: distinct storages, each once however many operations and views share it, and whole.
    Parameters, buffers and the inputs are there anyway and not counted. With a micro-batch, on an
    accelerator, what is saved goes to main memory instead; the batch stays whole.

    Parameters
    ----------
    subject
        The module and the batch.
    """
    place = torch.device("cpu") if subject.micro_batch is not None else subject.device
    # Weak, because autograd drops what belongs to a branch that nothing uses.
    saved: WeakSet[_Saved] = WeakSet()

    def pack(tensor: torch.Tensor) -> _Saved:
        entry = _Saved(tensor, place)
        saved.add(entry)
        return entry

    def unpack(entry: _Saved) -> torch.Tensor:
        return entry.value.to(entry.device)

    # In the model's own memory layout, because another one may need more copies.
    with replace(subject, channels_last=False).lent(training=True):
        inputs = tuple(x.clone() for x in subject.inputs)
        owned = (*inputs, *subject.model.parameters(), *subject.model.buffers())
        present = {_Saved(tensor, tensor.device).storage for tensor in owned}
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            output = subject.forward(inputs)
        sizes = {entry.storage: entry.size for entry in saved}
        # Until here the output kept its graph alive.
        del output
    return sum(size for storage, size in sizes.items() if storage not in present) / (
        subject.batch_size
    )


class _Reading(TorchFunctionMode):
    """Marks what is read off whole-numbered inputs, which carry no gradient, as a start of paths.

    Attributes
    ----------
    start
        A leaf that is zero, added to every floating-point result of whole-numbered arguments.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.start = torch.zeros((), device=device, requires_grad=True)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call, and mark its result if it comes from whole numbers."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not isinstance(result, torch.Tensor) or not result.is_floating_point():
            return result
        for value in (*args, *kwargs.values()):
            if any(map(_is_whole, value if isinstance(value, tuple | list) else (value,))):
                return result + self.start.to(result.dtype)
        return result


def depth(subject: Subject) -> int:
    """Return the largest number of weighted layers on a path from the input to the output.

    Weighted layers are convolutions whose kernel depends on parameters and products with a
    factor that depends on parameters alone, however they are written; one that is applied twice
    counts twice. Paths through a product with a constant zero do not count; 0 if there is no
    path. The first sample is taken, in evaluation mode.

    Parameters
    ----------
    subject
        The module and the batch.

    Raises
    ------
    UndefinedProxyError
        If the output has no autograd graph, or a path goes through layers that do not show in it:
        recurrent ones whose steps run in one kernel, or reentrant checkpoints.
    """
    with subject.lent(training=False):
        inputs = [x[:1].clone() for x in subject.inputs]
        leaves = [x.requires_grad_() for x in inputs if x.is_floating_point()]
        copies = tuple(x.clone() for x in inputs)
        if len(leaves) == len(inputs):
            output = subject.forward(copies)
        else:
            with _Reading(subject.device) as reading:
                output = subject.forward(copies)
            leaves.append(reading.start)
        return _longest(output, set(live_nodes(output, leaves)))


def _longest(output: torch.Tensor, live: set[Any]) -> int:
    """Return the largest number of weighted nodes on a path of live nodes that ends in `output`."""
    if output.grad_fn not in live:
        return 0
    lengths: dict[Any, int] = {}
    waiting: list[Any] = [output.grad_fn]
    while waiting:
        node = waiting[-1]
        sources = [source for source, _ in node.next_functions if source in live]
        unknown = [source for source in sources if source not in lengths]
        if unknown:
            waiting.extend(unknown)
            continue
        waiting.pop()
        lengths[node] = max((lengths[source] for source in sources), default=0)
        lengths[node] += _is_weighted(node, live)
    return lengths[output.grad_fn]


def _is_weighted(node: Any, live: set[Any]) -> bool:
    """Whether a live node is a convolution or linear layer with weights.

    Whatever has a gradient and does not come from the input comes from parameters alone.
    """
    kind = node.name().rstrip("0123456789")
    if kind in _OPAQUE:
        raise UndefinedProxyError(
            "expected layers that show in the autograd graph, "
            f"found some hidden in one node ({kind})"
        )
    sources = [source for source, _ in node.next_functions]
    if kind in _CONVOLUTIONS:
        return sources[_CONVOLUTIONS[kind]] is not None
    if kind not in _PRODUCTS:
        return False
    first = _PRODUCTS[kind]
    return any(s is not None and s not in live for s in sources[first : first + 2])


def _is_whole(value: Any) -> bool:
    """Whether a value is a tensor of whole numbers; truth values are masks."""
    return (
        isinstance(value, torch.Tensor)
        and value.dtype != torch.bool
        and not (value.is_floating_point() or value.is_complex())
    )
