"""The channel pass: how correlated the channels of every layer are for one random input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from proxies.errors import UndefinedProxyError
from proxies.isolation import gaussian

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from proxies.subject import Subject

__all__ = ["smallest_eigenvalues"]

_CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})


class _ChannelWatcher(TorchFunctionMode):
    """Remembers what convolutions returned, as ``(channels, positions)``."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[torch.Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in _CONVOLUTIONS and result.shape[0] == 1:
            self.maps.append(result.detach()[0].flatten(1).clone())
        return result


def smallest_eigenvalues(subject: Subject) -> list[float]:
    """Return for every convolution the smallest eigenvalue of its channels' correlation matrix.

    Correlations are over the positions of its feature map for one Gaussian input, in training
    mode. A channel that is constant is uncorrelated with itself as with all others. Where there
    are not more positions than channels, the matrix is singular and the eigenvalue 0.

    Parameters
    ----------
    subject
        The module and the batch, of which only the shape of one sample matters.

    Raises
    ------
    UndefinedProxyError
        If the model takes no floating-point input, or has no convolution.
    """
    if not all(x.is_floating_point() for x in subject.inputs):
        raise UndefinedProxyError("expected floating-point inputs to draw, found whole numbers")
    generator = torch.Generator().manual_seed(subject.seed)
    noise = tuple(subject.laid_out(gaussian(x[:1].shape, generator).to(x)) for x in subject.inputs)
    with subject.lent(training=True), torch.no_grad(), _ChannelWatcher() as watcher:
        subject.forward(noise)
    if not watcher.maps:
        raise UndefinedProxyError("expected convolutions, found none")
    return [_smallest(features.double()) for features in watcher.maps]


def _smallest(features: torch.Tensor) -> float:
    channels, positions = features.shape
    if positions <= channels:
        return 0.0
    centred = features - features.mean(1, keepdim=True)
    lengths = centred.norm(dim=1, keepdim=True)
    directions = torch.where(lengths > 0, centred / lengths, 0.0)
    return float(torch.linalg.eigvalsh(directions @ directions.T)[0].clamp(min=0))
