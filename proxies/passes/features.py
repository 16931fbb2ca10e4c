"""The feature pass: what a network with Gaussian weights makes of Gaussian noise, and of a change.

Everything is drawn from one generator: the noise x, the change ε, then the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from proxies.errors import UndefinedProxyError
from proxies.isolation import gaussian
from proxies.passes.batch import chunk_size
from proxies.passes.calls import LAYERS, bound_batch_norm
from proxies.passes.graph import live_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from proxies.subject import Subject

__all__ = ["FeatureWatcher", "Perturbation", "perturbation"]


@dataclass(frozen=True)
class Perturbation:
    """What a small change of a Gaussian input does to the feature maps of Gaussian weights.

    Parameters
    ----------
    clean, perturbed
        Feature maps g(x) and g(x + αε), shape ``(B, features)``.
    batch_variances
        For every batch normalisation between x and g(x): the variances of its input over the
        batch and all positions, one per channel.
    """

    clean: torch.Tensor
    perturbed: torch.Tensor
    batch_variances: list[torch.Tensor]


class FeatureWatcher(TorchFunctionMode):
    """Remembers the feature map before pooling and the statistics of batch normalisations.

    The feature map is the last tensor with several positions (``(B, C, H, W)``, or ``(B, T, C)``
    for tokens) that, once some layer was passed, is turned into one vector a sample: by pooling,
    by a mean, by flattening or by taking one token. In a network without such a step, or whose
    output has positions itself, it is the input of the last convolution or linear layer.

    Batch normalisations use batch statistics, whatever the mode of their module.
    """

    def __init__(self) -> None:
        super().__init__()
        # Autograd node of a batch normalisation (None where no graph is made) → its variances.
        self._variances: list[tuple[Any, torch.Tensor]] = []
        self._pooled: torch.Tensor | None = None
        self._last_input: torch.Tensor | None = None
        self._layers = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call and remember what matters of it."""
        kwargs = kwargs or {}
        normalised = bound_batch_norm(func, args, kwargs)
        if normalised is not None:
            return self._batch_norm(normalised)
        result = func(*args, **kwargs)
        first = args[0] if args else kwargs.get("input")
        # A maximum over positions comes with where it was found.
        value = result[0] if isinstance(result, tuple) and result else result
        if isinstance(value, torch.Tensor) and isinstance(first, torch.Tensor):
            if getattr(func, "__name__", "") in LAYERS:
                self._layers += 1
                self._last_input = first
            elif self._layers:
                # Other modes need not see that shapes are looked at.
                with torch._C.DisableTorchFunction():
                    if _is_map(first) and _is_vector(value, first.shape[0]):
                        self._pooled = first
        return result

    def feature_map(self, output: torch.Tensor) -> torch.Tensor:
        """Return the feature map g of what was watched, shape ``(B, features)``.

        Parameters
        ----------
        output
            The model's output.

        Raises
        ------
        UndefinedProxyError
            If the model has no features between its input and its output.
        """
        found = self._pooled if output.ndim == 2 else None
        if found is None and self._layers > 1:
            found = self._last_input
        if found is None:
            raise UndefinedProxyError(
                "expected a feature map before pooling or two layers one after the other, "
                "found neither"
            )
        if found.shape[0] != output.shape[0]:
            raise UndefinedProxyError(
                f"expected a feature map with {output.shape[0]} samples in its first dimension, "
                f"found shape {tuple(found.shape)}"
            )
        return found

    def batch_variances(
        self, features: torch.Tensor, inputs: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return the batch variances of the batch normalisations between inputs and features.

        Parameters
        ----------
        features
            The feature map, with its autograd graph.
        inputs
            The leaves from which it was computed.
        """
        if not self._variances:
            return []
        live = set(live_nodes(features, inputs))
        return [variance for node, variance in self._variances if node in live]

    def _batch_norm(self, arguments: dict[str, Any]) -> torch.Tensor:
        # With momentum 1 the kernel hands over the variance that it computes anyway, corrected
        # for the degree of freedom, which normalisation itself does not do.
        channels = arguments["input"].shape[1]
        variance = arguments["input"].new_ones(channels)
        arguments["running_mean"] = torch.zeros_like(variance)
        arguments["running_var"] = variance
        result = functional.batch_norm(**(arguments | {"training": True, "momentum": 1.0}))
        values = arguments["input"].numel() // channels
        self._variances.append((result.grad_fn, variance * ((values - 1) / values)))
        return result


def perturbation(subject: Subject, size: float) -> Perturbation:
    """Return the feature maps of Gaussian noise x and of x + αε, and x's batch variances.

    x and ε come from a generator with the subject's seed, and after them the weights; see
    `redraw` of :func:`proxies.isolation.lent`.

    Parameters
    ----------
    subject
        The module and the batch, of which only the shape matters.
    size
        How large the change is, α.

    Raises
    ------
    UndefinedProxyError
        If the model takes no floating-point input, or has no features.
    """
    if not all(x.is_floating_point() for x in subject.inputs):
        raise UndefinedProxyError("expected floating-point inputs to perturb, found whole numbers")
    generator = torch.Generator().manual_seed(subject.seed)
    noise = [gaussian(x.shape, generator).to(x) for x in subject.inputs]
    changed = [x + size * gaussian(x.shape, generator).to(x) for x in noise]
    rows = chunk_size(subject)
    weights = generator.clone_state()
    clean, variances = _features(subject, noise, rows, generator, with_variances=True)
    perturbed, _ = _features(subject, changed, rows, weights, with_variances=False)
    return Perturbation(clean, perturbed, variances)


def _features(
    subject: Subject,
    inputs: list[torch.Tensor],
    rows: int,
    weights: torch.Generator,
    *,
    with_variances: bool,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the feature maps of inputs, and the batch variances on the way if asked for.

    Every call lends the model anew, so that random layers do the same to both inputs.
    """
    maps: list[torch.Tensor] = []
    variances: list[torch.Tensor] = []
    lent = subject.lent(training=True, redraw=weights)
    with lent, torch.set_grad_enabled(with_variances):
        for chunk in zip(*(torch.split(x, rows) for x in inputs), strict=True):
            leaves = [x.clone().requires_grad_(with_variances) for x in chunk]
            with FeatureWatcher() as watcher:
                output = subject.forward(tuple(x.clone() for x in leaves))
            features = watcher.feature_map(output)
            if with_variances:
                variances = watcher.batch_variances(features, leaves)
            maps.append(features.detach().reshape(len(features), -1))
    return torch.cat(maps), variances


def _is_map(tensor: torch.Tensor) -> bool:
    """Whether a tensor has samples, channels and more than one position."""
    return tensor.ndim > 2 and tensor.is_floating_point() and not _is_flat(tensor)


def _is_vector(tensor: torch.Tensor, samples: int) -> bool:
    """Whether a tensor is one vector for each of so many samples."""
    return tensor.ndim >= 2 and tensor.shape[0] == samples and _is_flat(tensor)


def _is_flat(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 2 or all(extent == 1 for extent in tensor.shape[2:])
