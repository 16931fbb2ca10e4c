"""Lending a model to a measurement, and taking it back as it was.

A measurement never works on the model's own tensors. For its duration every module gets fresh
leaves in place of its parameters and copies of its buffers, wherever the measurement runs; when
it is over, also by an exception, each module's attributes are put back. Nothing is deep-copied,
so that lending costs about a millisecond per hundred modules.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch._ops import OpOverload
from torch.fx import GraphModule
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from proxies.errors import UndefinedProxyError
from proxies.passes.pooling import average_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["gaussian", "lent", "random_streams", "without_autocast"]

# Modules that hand their attribute `dropout` to a function instead of holding a dropout layer.
_OWN_DROPOUT = (nn.MultiheadAttention, nn.RNNBase)
# The functions that layers of dropout call, and models without such layers.
_DROPOUTS = {
    *("dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d"),
    *("alpha_dropout", "alpha_dropout_", "feature_dropout", "feature_dropout_"),
    *("feature_alpha_dropout", "feature_alpha_dropout_"),
}
# Modules whose `weight` and `bias` are initialised anew by redrawing.
_LAYERS = (_ConvNd, nn.Linear)
_NORMALISATIONS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


@contextmanager
def random_streams(seed: int, device: torch.device) -> Iterator[None]:
    """Seed Python's, NumPy's and PyTorch's global random streams, and put them back afterwards.

    Parameters
    ----------
    seed
        The seed that all of them get.
    device
        Where the measurement runs. The streams of CUDA devices are seeded only when it runs
        there, and put back whenever CUDA is in use.
    """
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
    on_cuda = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - a model may draw from the global stream
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if on_cuda else []
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        # Not torch.manual_seed: where CUDA is not in use yet it leaves a seeding for later behind.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed_all(seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        if on_cuda:
            torch.cuda.set_rng_state_all(cuda_states)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which the autocast of a caller has no effect.

    Parameters
    ----------
    device
        Where the measurement runs.
    """
    if not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def gaussian(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """Return standard normal numbers, the same for every device and floating-point type.

    Parameters
    ----------
    shape
        Their shape.
    generator
        Where they come from, on the CPU.
    """
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


@contextmanager
def lent(
    model: nn.Module,
    device: torch.device,
    seed: int,
    *,
    training: bool,
    dtype: torch.dtype | None = None,
    absolute: bool = False,
    redraw: torch.Generator | None = None,
    channels_last: bool = False,
) -> Iterator[dict[str, nn.Parameter]]:
    """Lend a model: inside, it computes with copies on `device`; afterwards it is as before.

    Put back, whatever happens inside: parameters, buffers, gradients, ``requires_grad`` flags,
    training modes, plain attributes (lists, dicts and sets one level deep), hooks, and the global
    random streams. Gradient mode, inference mode and autocast of the caller have no effect inside.

    Parameters
    ----------
    model
        The model to lend.
    device
        Where the copies live.
    seed
        Seed of the global random streams inside.
    training
        Training mode (normalisation by batch statistics) or evaluation mode. Dropout is off in
        both, as a layer or as a function: a score describes the network, not a random part of it.
    dtype
        The floating-point type of the copies; their own if not given.
    absolute
        Whether parameters are replaced by their absolute values.
    redraw
        Generator on the CPU, which is advanced, for another initialisation: in the order of
        ``model.named_parameters()``, weights of convolutions and linear layers are drawn from
        N(0, 1) by :func:`gaussian`. Their biases are 0; normalisations have weight 1 and bias 0.
        Parameters of other kinds stay as they are, such as embeddings, recurrent layers, the
        input projections of attention and those that a parametrised weight is computed from.
    channels_last
        Whether the weights of two-dimensional convolutions lie in memory with channels last.

    Yields
    ------
    dict
        Parameter name → leaf that stands in for it and requires a gradient, each shared
        parameter once.

    Raises
    ------
    UndefinedProxyError
        If the model is TorchScript or an exported program, or has lazy parameters that have no
        shape yet.
    """
    modules = list(model.modules())
    for kind, found in (("TorchScript", _is_scripted), ("an exported program", _is_exported)):
        if any(map(found, modules)):
            raise UndefinedProxyError(
                f"expected an eager module, found {kind}; pass the module it was made from"
            )
    with ExitStack() as stack:
        stack.enter_context(random_streams(seed, device))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(without_autocast(device))
        if any(map(_is_compiled, modules)):
            # Compiled code does not go through the modes by which passes see what is called.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        leaves, stand_ins = _leaves(model, device, dtype, absolute, redraw)
        if channels_last:
            for module in modules:
                leaf = stand_ins.get(id(module._parameters.get("weight")))
                if isinstance(module, nn.Conv2d) and leaf is not None:
                    leaf.data = leaf.data.contiguous(memory_format=torch.channels_last)

        def lend(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            if id(value) not in stand_ins:
                stand_ins[id(value)] = _copy(value, device, dtype)
            return stand_ins[id(value)]

        before = [(module, dict(module.__dict__)) for module in modules]
        try:
            for module in modules:
                _replace(module, lend, training)
            replaced = _WITHOUT_DROPOUT if training else {}
            if channels_last:
                replaced = {**replaced, "avg_pool2d": average_pool}
            # Only now: copying makes thousands of calls that a mode would look at.
            if replaced:
                stack.enter_context(_Replacing(replaced))
            yield leaves
        finally:
            for module, attributes in before:
                module.__dict__.clear()
                module.__dict__.update(attributes)


class _Replacing(TorchFunctionMode):
    """Hands calls of some functions, known by name, to what stands in for them."""

    def __init__(self, stand_ins: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__()
        self._stand_ins = stand_ins

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call, or its stand-in."""
        stand_in = self._stand_ins.get(getattr(func, "__name__", ""))
        if stand_in is None:
            return func(*args, **(kwargs or {}))
        return stand_in(func, args, kwargs or {})


def _undropped(_: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what dropout was given."""
    return args[0] if args else kwargs["input"]


def _attention(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> torch.Tensor:
    """Run ``scaled_dot_product_attention`` without dropout, its fifth argument."""
    args = (*args[:4], *((0.0,) if len(args) > 4 else ()), *args[5:])
    given = {**kwargs, "dropout_p": 0.0} if "dropout_p" in kwargs else kwargs
    found: torch.Tensor = func(*args, **given)
    return found


_WITHOUT_DROPOUT: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_DROPOUTS, _undropped),
    "scaled_dot_product_attention": _attention,
}


def _is_scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _is_exported(module: nn.Module) -> bool:
    """Whether a module is what ``torch.export`` made of another.

    Whether it trains is part of its code, and its calls are those of the dispatcher, not of layers.
    """
    return isinstance(module, GraphModule) and any(
        isinstance(node.target, OpOverload) for node in module.graph.nodes
    )


def _is_compiled(module: nn.Module) -> bool:
    """Whether a module, or its call, is what ``torch.compile`` made of it."""
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None


def _leaves(
    model: nn.Module,
    device: torch.device,
    dtype: torch.dtype | None,
    absolute: bool,
    redraw: torch.Generator | None,
) -> tuple[dict[str, nn.Parameter], dict[int, torch.Tensor]]:
    """Return the leaves by parameter name, and by the identity of what they stand in for."""
    leaves: dict[str, nn.Parameter] = {}
    stand_ins: dict[int, torch.Tensor] = {}
    drawn, constants = _initial_values(model) if redraw is not None else (set(), {})
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise UndefinedProxyError(
                f"expected initialised parameters, found lazy {name!r}; run one forward pass first"
            )
        copy = _copy(parameter, device, dtype)
        if redraw is not None and id(parameter) in drawn:
            copy.copy_(gaussian(copy.shape, redraw))
        elif id(parameter) in constants:
            copy.fill_(constants[id(parameter)])
        differentiable = copy.is_floating_point() or copy.is_complex()
        if absolute and differentiable:
            copy = copy.abs()
        leaves[name] = nn.Parameter(copy, requires_grad=differentiable)
        stand_ins[id(parameter)] = leaves[name]
    return leaves, stand_ins


def _initial_values(model: nn.Module) -> tuple[set[int], dict[int, float]]:
    """Return which parameters, by identity, redrawing draws, and which get a constant."""
    drawn: set[int] = set()
    constants: dict[int, float] = {}
    for module in model.modules():
        weight, bias = (id(module._parameters.get(name)) for name in ("weight", "bias"))
        if isinstance(module, _LAYERS):
            drawn.add(weight)
            constants[bias] = 0.0
        elif isinstance(module, _NORMALISATIONS):
            constants |= {weight: 1.0, bias: 0.0}
    return drawn, constants


def _copy(tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None) -> torch.Tensor:
    target = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(device, target, copy=True)


def _replace(module: nn.Module, lend: Callable[[Any], Any], training: bool) -> None:
    """Give a module copies to work with: of its tensors, and of its containers."""
    attributes: dict[str, Any] = module.__dict__
    for name, value in attributes.items():
        kind = type(value)
        if kind is dict:
            attributes[name] = {key: lend(entry) for key, entry in value.items()}
        elif kind is list:
            attributes[name] = [lend(entry) for entry in value]
        elif kind is OrderedDict or kind is set:
            attributes[name] = value.copy()
        elif isinstance(value, torch.Tensor):
            attributes[name] = lend(value)
    attributes["training"] = training and not isinstance(module, _DropoutNd)
    if isinstance(module, _OWN_DROPOUT):
        attributes["dropout"] = 0.0
