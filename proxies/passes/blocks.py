"""The block pass: what a network's blocks make of noise, forwards, and of signs, backwards."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge
from torch.nn import functional

from proxies.errors import UndefinedProxyError
from proxies.isolation import gaussian
from proxies.passes.batch import chunk_size
from proxies.passes.layers import LayerWatcher

if TYPE_CHECKING:
    from proxies.subject import Subject

__all__ = ["BlockFeatures", "block_features", "blocks_of"]


@dataclass(frozen=True)
class BlockFeatures:
    """What blocks make of Gaussian noise, and of random signs that go backwards.

    Parameters
    ----------
    spectra
        For the input of the first block and the output of every block: the eigenvalues, ascending,
        of the covariance matrix of its channels over samples and positions.
    norms
        For every block the spectral norm σ of the mean product of random signs v at its output
        and of vᵀJ at its input, J its Jacobian; 1 for the identity, 0 for a dead block.
    identities
        For every block whether it returned the signs unchanged.
    mismatch
        Why norms cannot be estimated, empty where they can: a block's input and output have
        positions that do not match, or do not depend on each other.
    """

    spectra: list[torch.Tensor]
    norms: list[float]
    identities: list[bool]
    mismatch: str = ""


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of a model: the composite elements of its outermost containers.

    Elements of ``nn.Sequential`` and ``nn.ModuleList`` that have submodules themselves, such as
    residual blocks, cells and transformer layers; those of a stage in a list of stages, not the
    stages. What is inside a block is part of it.

    Parameters
    ----------
    model
        The model.
    """
    found: list[nn.Module] = []

    def visit(module: nn.Module) -> None:
        holds = isinstance(module, nn.Sequential | nn.ModuleList)
        for child in module.children():
            if not holds or _is_stage(child):
                visit(child)
            elif any(True for _ in child.children()):
                found.append(child)

    visit(model)
    return list(dict.fromkeys(found))  # one that stands in two containers is one block


def _is_stage(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.ModuleList) and any(
        any(True for _ in child.children()) for child in module.children()
    )


def block_features(subject: Subject) -> BlockFeatures:
    """Return what the blocks of a model make of noise and signs, in training mode.

    Floating-point inputs are Gaussian noise of the batch's shape, others the batch's own. In a
    model with fewer than two blocks, every convolution and linear layer but the last is one.
    Features have their channels in dimension 1, or last where they have three dimensions.

    Parameters
    ----------
    subject
        The module and the batch.

    Raises
    ------
    UndefinedProxyError
        If the model has not even two layers one after the other.
    """
    generator = torch.Generator().manual_seed(subject.seed)
    noise = [
        gaussian(x.shape, generator).to(x) if x.is_floating_point() else x for x in subject.inputs
    ]
    size = chunk_size(subject)
    sums = _Sums(subject.seed)
    with subject.lent(training=True):
        for start in range(0, subject.batch_size, size):
            inputs = [subject.laid_out(x[start : start + size]) for x in noise]
            features = _features(subject, inputs)
            sums.add(features)
            del features
    return sums.result()


@dataclass(frozen=True)
class _Feature:
    """A feature map, shape ``(samples, positions…, channels)``, and where it is in the graph."""

    value: torch.Tensor
    edge: Any
    channels: int

    @property
    def rows(self) -> torch.Tensor:
        return _rows(self.value, self.channels)


def _rows(tensor: torch.Tensor, channels: int) -> torch.Tensor:
    moved = tensor.movedim(channels, -1)
    return moved.reshape(-1, moved.shape[-1])


def _features(subject: Subject, inputs: list[torch.Tensor]) -> list[_Feature]:
    """Run the model on inputs and return the features between its blocks."""
    leaves = tuple(
        x.clone().requires_grad_() if x.is_floating_point() else x.clone() for x in inputs
    )
    blocks = blocks_of(subject.model)
    if len(blocks) < 2:
        with LayerWatcher(copies=True) as watcher:
            subject.forward(tuple(x.clone() for x in leaves))
        calls = watcher.calls[:-1]
        if len(calls) < 2:
            raise UndefinedProxyError(
                "expected at least two blocks or three layers one after the other, found fewer"
            )
        return [_Feature(call.output.detach(), call.edge, call.channel_dimension) for call in calls]
    found: list[_Feature] = []

    def keep(tensor: Any) -> Any:
        """Remember a feature and hand on a copy: the next block may write into it."""
        if not isinstance(tensor, torch.Tensor) or not tensor.requires_grad or tensor.ndim < 2:
            return tensor
        channels = tensor.ndim - 1 if tensor.ndim == 3 else 1
        found.append(_Feature(tensor.detach(), get_gradient_edge(tensor), channels))
        return tensor.clone()

    def before(_: nn.Module, arguments: tuple[Any, ...]) -> Any:
        return None if found else (*map(keep, arguments[:1]), *arguments[1:])

    def after(_: nn.Module, _arguments: Any, output: Any) -> Any:
        return keep(output)

    # The lent model takes them with it.
    blocks[0].register_forward_pre_hook(before)
    for block in blocks:
        block.register_forward_hook(after)
    subject.forward(tuple(x.clone() for x in leaves))
    if len(found) < 3:
        raise UndefinedProxyError(
            "expected blocks that return tensors with gradients, found fewer than two"
        )
    return found


class _Sums:
    """Adds up, part of the batch by part, what covariances and mean products are made of."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._origins: list[torch.Tensor] = []

    def _begin(self, features: list[_Feature]) -> None:
        # Covariances are taken about a point near the mean, for precision.
        self._origins = [feature.rows.mean(0) for feature in features]
        self._first = [torch.zeros_like(o, dtype=torch.float64) for o in self._origins]
        self._second = [o.new_zeros(len(o), len(o), dtype=torch.float64) for o in self._origins]
        self._counts = [0] * len(features)
        self._products: list[Any] = [0.0] * (len(features) - 1)
        self._positions = [0] * (len(features) - 1)
        self._identities = [True] * (len(features) - 1)
        self._mismatch = ""
        self._generators = [
            torch.Generator().manual_seed(self._seed + i) for i in range(len(features))
        ]

    def add(self, features: list[_Feature]) -> None:
        if not self._origins:
            self._begin(features)
        channels = [feature.value.shape[feature.channels] for feature in features]
        if channels != [len(origin) for origin in self._origins]:
            raise UndefinedProxyError(
                "expected the same blocks to run for every part of the batch, found that samples "
                "decide which run; give no micro_batch"
            )
        for index, feature in enumerate(features):
            rows = feature.rows - self._origins[index]
            self._first[index] += rows.sum(0, dtype=torch.float64)
            self._second[index] += (rows.T @ rows).double()
            self._counts[index] += len(rows)
        for index, (before, after) in enumerate(pairwise(features)):
            self._add_product(index, before, after)

    def _add_product(self, index: int, before: _Feature, after: _Feature) -> None:
        generator = self._generators[index]
        shape = after.value.shape
        bits = torch.randint(0, 2, shape, generator=generator, dtype=torch.int8, device="cpu")
        # In the layout of the features: what goes backwards would keep another one.
        signs = torch.empty_like(after.value).copy_(2 * bits - 1)
        (found,) = torch.autograd.grad(
            [after.edge], [before.edge], [signs], retain_graph=True, allow_unused=True
        )
        if found is None:
            self._mismatch = (
                "expected blocks one after the other, found one that does not depend on the "
                "block before it"
            )
            return
        if found.shape != signs.shape or not torch.equal(found, signs):
            self._identities[index] = False
        gradient = _matched(found, signs)
        incoming = _rows(gradient, before.channels)
        outgoing = _rows(signs, after.channels)
        if len(incoming) != len(outgoing):
            shapes = (tuple(tensor.shape[1:]) for tensor in (found, signs))
            self._mismatch = (
                "expected blocks that keep or divide positions, found one that turns shape "
                "{} into {}".format(*shapes)
            )
            return
        self._products[index] = self._products[index] + (incoming.T @ outgoing).double()
        self._positions[index] += len(outgoing)

    def result(self) -> BlockFeatures:
        spectra = []
        for first, second, count in zip(self._first, self._second, self._counts, strict=True):
            mean = first / count
            covariance = second / count - torch.outer(mean, mean)
            spectra.append(torch.linalg.eigvalsh(covariance).clamp(min=0))
        norms = [
            float(torch.linalg.matrix_norm(product / count, 2)) if count else 0.0
            for product, count in zip(self._products, self._positions, strict=True)
        ]
        return BlockFeatures(spectra, norms, self._identities, self._mismatch)


def _matched(gradient: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    """Bring a gradient at a block's input to the positions of its output.

    Where a block divides height and width, the neighbours that become one position become its
    channels; sizes that are no multiples are padded with zeros.
    """
    if gradient.ndim != 4 or signs.ndim != 4 or gradient.shape[2:] == signs.shape[2:]:
        return gradient
    factors = [
        -(-before // after)
        for before, after in zip(gradient.shape[2:], signs.shape[2:], strict=True)
    ]
    factor = max(factors)
    missing = [
        factor * after - before
        for before, after in zip(gradient.shape[2:], signs.shape[2:], strict=True)
    ]
    if factor < 2 or min(missing) < 0:
        return gradient
    padded = functional.pad(gradient, (0, missing[1], 0, missing[0]))
    return functional.pixel_unshuffle(padded, factor)
