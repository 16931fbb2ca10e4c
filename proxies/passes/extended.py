"""Arithmetic of extended range for networks whose activations overflow float64.

A tensor x stands for x · 2ᵉ with a whole number e of its own, kept beside it. Every operation is
done on the x, exactly as in float64, and rules say which e the result has: a convolution or a
ReLU keeps it, a product adds, a sum first brings its terms to the largest e (powers of two, so
that nothing is rounded; a term is lost only where it is 2¹⁰⁰⁰ times smaller than its
neighbours). Values that grow too large or too small are brought back to the middle of the range
by a power of two that moves into e. Autograd sees the powers of two as constants, so gradients
are right and in range as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from proxies.errors import UndefinedProxyError
from proxies.passes.calls import LAYERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["ExtendedRange"]

# Function names, without the underscores that mark in-place and operator forms:
# f(2ᵉ x) = 2ᵉ f(x).
_HOMOGENEOUS = frozenset(
    {
        *("abs", "amax", "chunk", "clone", "contiguous", "detach", "double", "expand"),
        *("expand_as", "flatten", "flip", "fold", "get", "getitem", "index_select", "interpolate"),
        *("leaky_relu", "mean", "movedim", "narrow", "neg", "pad", "permute", "pixel_shuffle"),
        *("prelu", "relu", "repeat", "repeat_interleave", "reshape", "reshape_as", "roll"),
        *("select", "split", "squeeze", "sum", "swapaxes", "t", "tile", "to", "transpose"),
        *("unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
        *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        *("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"),
        *("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"),
        *("dropout", "dropout1d", "dropout2d", "dropout3d"),
    }
)
# Answers that do not depend on values.
_QUESTIONS = frozenset(
    {
        *("dim", "element_size", "get_device", "is_complex", "is_contiguous", "is_floating_point"),
        *("len", "ndimension", "nelement", "numel", "size", "storage_offset", "stride"),
    }
)
_SUMS = frozenset({"add", "iadd", "isub", "radd", "rsub", "sub"})
_COLLECTIONS = frozenset({"cat", "concat", "concatenate", "stack"})
_PRODUCTS = frozenset({"bmm", "imul", "matmul", "mm", "mul", "rmul"})
_QUOTIENTS = frozenset({"div", "idiv", "itruediv", "truediv"})
# f(2ᵉ x) / 2ᵉ differs from ReLU(x) by less than 2⁻ᵉ: nothing, at the e that occur.
_RECTIFIERS = frozenset({"celu", "elu", "gelu", "hardswish", "mish", "silu", "softplus"})
_GROWING = LAYERS | _SUMS | _COLLECTIONS | _PRODUCTS | _QUOTIENTS
# Magnitudes up to here stay as they are; twice as many bits still fit into float64.
_COMFORTABLE_BITS = 256


class ExtendedRange(TorchFunctionMode):
    """Inside, activations may exceed float64, and normalisation is left out.

    Parameters
    ----------
    left_out
        Names of the functions that return a copy of their input instead.

    Attributes
    ----------
    output_exponent : int
        After :meth:`read_output`: the e of the model's output.
    """

    def __init__(self, left_out: frozenset[str]) -> None:
        super().__init__()
        self._left_out = left_out
        # Tensors with e ≠ 0: identity → (tensor, e, version). Holding the tensor keeps its
        # identity from being given to another, and the version shows writes through an alias.
        self._exponents: dict[int, tuple[torch.Tensor, int, int]] = {}
        self.output_exponent = 0

    def read_output(self, output: torch.Tensor) -> None:
        """Remember the exponent of the model's output.

        Parameters
        ----------
        output
            What the model returned.
        """
        self.output_exponent = self._exponent(output)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call on the x and give the result its e."""
        kwargs = dict(kwargs or {})
        full_name = getattr(func, "__name__", "")
        if full_name in self._left_out:
            func, args, kwargs = torch.clone, (args[0] if args else kwargs["input"],), {}
            full_name = "clone"
        name = full_name.strip("_")
        arguments = list(args)
        exponent = 0
        if any(self._exponent(tensor) for tensor in _tensors((args, kwargs))):
            in_place = name == "setitem" or full_name.endswith("_") > full_name.endswith("__")
            func, exponent = self._follow(func, name, arguments, kwargs, in_place)
        result = func(*arguments, **kwargs)
        if name in _GROWING and isinstance(result, torch.Tensor):
            same = bool(arguments) and result is arguments[0]
            result, exponent = self._recentred(result, exponent, in_place=same)
        for tensor in _tensors(result):
            self._exponents.pop(id(tensor), None)
            if exponent and tensor.is_floating_point():
                self._exponents[id(tensor)] = (tensor, exponent, tensor._version)
        return result

    def _follow(
        self,
        func: Callable[..., Any],
        name: str,
        arguments: list[Any],
        kwargs: dict[str, Any],
        in_place: bool,
    ) -> tuple[Callable[..., Any], int]:
        """Bring arguments, of which some has an e, to what the function takes; give its result's e.

        Changes `arguments` and `kwargs`, and returns the function to call with them.
        """
        first: Any = arguments[0] if arguments else kwargs.get("input")
        if name in LAYERS and arguments:
            return func, self._align_layer(arguments, kwargs)
        if name in _QUESTIONS:
            return func, 0
        if name in _HOMOGENEOUS and not (name == "pad" and _pads_with_a_value(arguments, kwargs)):
            return func, self._exponent(first)
        if name in _SUMS and len(arguments) > 1:
            exponent = self._largest(arguments[:2])
            arguments[0] = self._aligned(first, exponent, in_place=in_place)
            arguments[1] = self._aligned(arguments[1], exponent)
            return func, exponent
        if name in _COLLECTIONS and arguments:
            exponent = self._largest(first)
            arguments[0] = [self._aligned(term, exponent) for term in first]
            return func, exponent
        if name in _PRODUCTS and len(arguments) > 1:
            return func, self._exponent(first) + self._exponent(arguments[1])
        if name in _QUOTIENTS and len(arguments) > 1:
            return func, self._exponent(first) - self._exponent(arguments[1])
        if name in _RECTIFIERS and self._exponent(first) > 0:
            arguments[:] = [first]
            kwargs.clear()
            return functional.relu, self._exponent(first)
        if in_place:
            raise UndefinedProxyError(
                f"synflow leaves the range of float64 at {name!r} in place, "
                "an operation without a rule for extended range"
            )
        arguments[:] = [self._true(value, name) for value in arguments]
        kwargs.update({key: self._true(value, name) for key, value in kwargs.items()})
        return func, 0

    def _align_layer(self, arguments: list[Any], kwargs: dict[str, Any]) -> int:
        """Bring the input and bias of a convolution or linear layer to one e, and return it."""
        weight = arguments[1] if len(arguments) > 1 else kwargs["weight"]
        exponent = self._exponent(arguments[0]) + self._exponent(weight)
        bias = arguments[2] if len(arguments) > 2 else kwargs.get("bias")
        if bias is None or not bias.any():
            return exponent
        if exponent < 0:
            # Beside a bias of ordinary size the rest vanishes rather than the bias overflowing.
            arguments[0] = _shifted(arguments[0], exponent)
            return 0
        if len(arguments) > 2:
            arguments[2] = self._aligned(bias, exponent)
        else:
            kwargs["bias"] = self._aligned(bias, exponent)
        return exponent

    def _exponent(self, value: Any) -> int:
        """Return the e of a tensor; 0 for numbers and for tensors as they are."""
        known = self._exponents.get(id(value))
        if known is None:
            return 0
        tensor, exponent, version = known
        if tensor._version != version:
            raise UndefinedProxyError(
                "synflow leaves the range of float64 and a tensor is written to through an alias; "
                "expected operations that are not in place"
            )
        return exponent

    def _largest(self, terms: Iterable[Any]) -> int:
        """Return the largest e of terms that are not zero."""
        present = [t for t in terms if (t.any() if isinstance(t, torch.Tensor) else t != 0)]
        return max((self._exponent(term) for term in present), default=0)

    def _aligned(self, term: Any, exponent: int, *, in_place: bool = False) -> Any:
        """Return a tensor or number that stands for the same value with another e."""
        shift = self._exponent(term) - exponent
        if shift == 0:
            return term
        if not isinstance(term, torch.Tensor):
            return math.ldexp(float(term), max(shift, -2000))
        if in_place:
            return term.mul_(math.ldexp(1.0, max(shift, -2000)))
        return _shifted(term, shift)

    def _recentred(
        self, result: torch.Tensor, exponent: int, *, in_place: bool
    ) -> tuple[torch.Tensor, int]:
        """Move a power of two from a result into its e if it nears the end of the range."""
        if not result.is_floating_point() or result.numel() == 0:
            return result, exponent
        peak = float(result.detach().abs().max())
        if not math.isfinite(peak):
            raise UndefinedProxyError("synflow overflows float64 within one operation")
        bits = math.frexp(peak)[1] if peak else 0
        if abs(bits) <= _COMFORTABLE_BITS:
            return result, exponent
        if in_place:
            return result.mul_(math.ldexp(1.0, -bits)), exponent + bits
        return _shifted(result, -bits), exponent + bits

    def _true(self, value: Any, name: str) -> Any:
        """Return a value as plain float64, for an operation without a rule."""
        if isinstance(value, list | tuple):
            return type(value)(self._true(entry, name) for entry in value)
        exponent = self._exponent(value)
        if exponent == 0:
            return value
        peak = float(value.detach().abs().max())
        if peak and not -900 < math.frexp(peak)[1] + exponent < 900:
            raise UndefinedProxyError(
                f"synflow leaves the range of float64 before {name!r}, "
                "an operation without a rule for extended range"
            )
        return _shifted(value, exponent)


def _shifted(tensor: torch.Tensor, bits: int) -> torch.Tensor:
    """Return tensor · 2^bits, in steps that are powers of two within float64."""
    while bits:
        step = max(-1000, min(1000, bits))
        tensor = tensor * math.ldexp(1.0, step)
        bits = 0 if bits < -3000 else bits - step
    return tensor


def _pads_with_a_value(arguments: list[Any], kwargs: dict[str, Any]) -> bool:
    return bool(arguments[3] if len(arguments) > 3 else kwargs.get("value"))


def _tensors(value: Any) -> list[torch.Tensor]:
    """Return the tensors in arguments or results, however nested."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for entry in value for tensor in _tensors(entry)]
    return []
