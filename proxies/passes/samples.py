"""The sample pass: gradients of every sample alone, by the weights of layers.

Batch normalisation makes every sample's loss depend on all others, and its gradient with them.
Here the statistics of the batch are constants: they are those of the batch, and are not
differentiated. Then one backward pass gives the gradients of all samples, layer by layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from proxies.errors import UndefinedProxyError, is_out_of_memory, reason_of
from proxies.passes.batch import chunk_size, saved_elsewhere
from proxies.passes.calls import bound_batch_norm
from proxies.passes.forward import check_finite, mean_loss
from proxies.passes.layers import LayerWatcher, OverwrittenError, unless_overwritten
from proxies.passes.sample_gradients import (
    sample_gradients,
    sample_gradients_at,
    weight_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from proxies.passes.layers import LayerCall
    from proxies.subject import Subject

__all__ = ["SAMPLE_PRODUCTS", "FrozenStatistics", "sample_pass"]

# How many labels are drawn for every sample, from what the network says, for its Fisher matrix.
DRAWS = 2


class FrozenStatistics(TorchFunctionMode):
    """Inside, batch normalisation takes the statistics of the batch for constants."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the call, or normalise by statistics without a gradient."""
        kwargs = kwargs or {}
        call = bound_batch_norm(func, args, kwargs)
        if call is None:
            return func(*args, **kwargs)
        x = call["input"]
        # One value a channel has no variance: the call itself says so.
        if not call["training"] or x.numel() <= x.shape[1]:
            return func(*args, **kwargs)
        # The kernel of batch normalisation finds them much faster than var_mean does.
        _, mean, scale = torch.native_batch_norm(
            x.detach(), None, None, None, None, True, 0.0, call["eps"]
        )
        variance = scale**-2 - call["eps"]
        return functional.batch_norm(
            x, mean, variance, call["weight"], call["bias"], training=False, eps=call["eps"]
        )


def sample_pass(subject: Subject, products: Iterable[str]) -> dict[str, Any]:
    """Run the sample pass and return what it was asked for.

    Parameters
    ----------
    subject
        The module and the batch.
    products
        Names from :data:`SAMPLE_PRODUCTS`.

    Returns
    -------
    dict
        For each product its value, or the :class:`~proxies.UndefinedProxyError` that says why it
        has none.

    Raises
    ------
    MemoryError, RuntimeError
        When memory runs out: what was asked for may fit in smaller parts.
    """
    names = list(products)
    return unless_overwritten(lambda copies: _swept(subject, names, copies=copies))


def _swept(subject: Subject, products: Iterable[str], *, copies: bool) -> dict[str, Any]:
    size = chunk_size(subject)
    failed: dict[str, UndefinedProxyError] = {}
    with saved_elsewhere(subject, size), subject.lent(training=True) as leaves, FrozenStatistics():
        # Inside, for what is added up must not be made in the caller's inference mode.
        measures = {name: SAMPLE_PRODUCTS[name](subject) for name in products}
        owners = {id(leaf): name for name, leaf in leaves.items()}
        for start in range(0, subject.batch_size, size):
            try:
                part = _Part(subject, slice(start, start + size), owners, copies=copies)
            except Exception as error:
                if is_out_of_memory(error) or isinstance(error, OverwrittenError):
                    raise
                return dict.fromkeys(measures, UndefinedProxyError(reason_of(error)))
            for name, reason in _add(part, measures).items():
                failed.setdefault(name, reason)
            del part
    return {name: failed.get(name) or measure.result() for name, measure in measures.items()}


def _add(part: _Part, measures: dict[str, Any]) -> dict[str, UndefinedProxyError]:
    """Add a part's share to every measure; return which failed, and why."""
    failed: dict[str, UndefinedProxyError] = {}
    values: dict[str, torch.Tensor] = {}
    for name, measure in measures.items():
        try:
            if isinstance(measure, _FisherGradients):
                measure.add(part)
            else:
                values[name] = measure.value(part)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            failed[name] = UndefinedProxyError(reason_of(error))
    try:
        # Gradients of several values by one weight cost little more than of one.
        for weight, rows in part.gradients(list(values.values())):
            for name, found in zip(values, rows, strict=True):
                measures[name].take(weight, found)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        failed |= dict.fromkeys(values, UndefinedProxyError(reason_of(error)))
    return failed


class _Part:
    """A forward pass on some of the samples, and every sample's gradients from it."""

    def __init__(
        self,
        subject: Subject,
        rows: slice,
        owners: dict[int, str],
        *,
        copies: bool,
    ) -> None:
        self.subject = subject
        self.rows = rows
        self.labels = None if subject.labels is None else subject.labels[rows]
        self._owners = owners
        inputs = tuple(subject.laid_out(x[rows].clone()) for x in subject.inputs)
        self.size = len(inputs[0])
        self.watcher = LayerWatcher(copies=copies)
        self._run(inputs)
        if not self.watcher.calls:
            raise UndefinedProxyError("expected convolutions or linear layers, found none")

    def _run(self, inputs: tuple[torch.Tensor, ...]) -> None:
        with self.watcher:
            self.output = self.subject.forward(tuple(x.clone() for x in inputs))
        self.watcher.check()
        check_finite(self.output)

    def loss(self) -> torch.Tensor:
        """Return Σ_i L_i."""
        if self.subject.loss is None:
            return self.size * mean_loss(self.subject, self.output, self.labels)
        if self.labels is None:
            raise UndefinedProxyError("expected labels for the loss, found none in the batch")
        # A loss of the user's may weigh samples by one another.
        labels = self.labels
        parts = (slice(index, index + 1) for index in range(self.size))
        losses = [mean_loss(self.subject, self.output[part], labels[part]) for part in parts]
        return torch.stack(losses).sum()

    def gradients(self, values: list[torch.Tensor]) -> Iterator[tuple[str, list[torch.Tensor]]]:
        """Yield weight by weight its name and for every value the rows of samples' gradients.

        A weight that several layers share has the sum of its gradients.

        Parameters
        ----------
        values
            Sums over samples of what is differentiated.
        """
        found = [dict(self.differentiated(value)) for value in values]
        for name in dict.fromkeys(name for each in found for name in each):
            # A layer whose gradient is missing for one value has none for any: it is dead.
            columns = zip(*(each[name] for each in found), strict=True)
            calls = [(column[0][0], [gradient for _, gradient in column]) for column in columns]
            rows = [sample_gradients(call, gradients, self.size) for call, gradients in calls]
            yield name, [torch.stack(each).sum(0) for each in zip(*rows, strict=True)]

    def differentiated(
        self, value: torch.Tensor
    ) -> Iterator[tuple[str, list[tuple[LayerCall, torch.Tensor]]]]:
        """Yield weight by weight its name, its calls and the gradients by what they returned.

        Parameters
        ----------
        value
            A sum over samples of what is differentiated.
        """
        calls = self.watcher.calls
        found = torch.autograd.grad(
            value, [call.edge for call in calls], retain_graph=True, allow_unused=True
        )
        by_weight: dict[str, list[tuple[LayerCall, torch.Tensor]]] = {}
        for index, (call, gradient) in enumerate(zip(calls, found, strict=True)):
            weight = weight_of(call)
            if gradient is not None and weight.requires_grad:
                name = self._owners.get(id(weight), f"computed by call {index}")
                by_weight.setdefault(name, []).append((call, gradient))
        yield from by_weight.items()


class _SignAgreement:
    """Σ_k |Σ_i sign ∂L_i/∂θ_k|."""

    def __init__(self, _: Subject) -> None:
        self._sums: dict[str, torch.Tensor] = {}

    def value(self, part: _Part) -> torch.Tensor:
        value = part.loss()
        # The sign of nan is 0.
        if not value.isfinite():
            raise UndefinedProxyError(f"expected a finite loss, found {value.item()}")
        return value

    def take(self, weight: str, rows: torch.Tensor) -> None:
        share = rows.sign().sum(0)
        self._sums[weight] = self._sums[weight] + share if weight in self._sums else share

    def result(self) -> float:
        return float(sum(float(s.abs().sum(dtype=torch.float64)) for s in self._sums.values()))


class _TangentKernel:
    """The products of all pairs of samples' gradients of the summed output, ``(B, B)``."""

    def __init__(self, subject: Subject) -> None:
        self._samples = subject.batch_size
        self._kernel = torch.zeros(
            self._samples, self._samples, dtype=torch.float64, device=subject.device
        )
        self._rows: dict[str, list[torch.Tensor]] = {}

    def value(self, part: _Part) -> torch.Tensor:
        return part.output.sum()

    def take(self, weight: str, rows: torch.Tensor) -> None:
        if len(rows) == self._samples:
            self._kernel += (rows @ rows.T).double()
        else:
            # Main memory: what is short is the device's.
            self._rows.setdefault(weight, []).append(rows.cpu())

    def result(self) -> torch.Tensor:
        for parts in self._rows.values():
            rows = torch.cat(parts)
            self._kernel += (rows @ rows.T).double().to(self._kernel.device)
        return self._kernel


class _FisherGradients:
    """Gradients of the log-likelihood of drawn labels by one weight of every layer.

    Shape ``(B · draws, layers)``, float64: with labels drawn from what the network predicts,
    the products of two columns estimate an entry of the Fisher information matrix.
    """

    def __init__(self, subject: Subject) -> None:
        self._samples = subject.batch_size
        self._generator = torch.Generator().manual_seed(subject.seed)
        self._noise_generator = torch.Generator().manual_seed(subject.seed)
        self._noise: list[torch.Tensor] = []
        self._picks: dict[str, int] = {}
        self._columns: dict[str, list[torch.Tensor]] = {}

    def add(self, part: _Part) -> None:
        output = part.output
        if output.ndim != 2:
            raise UndefinedProxyError(
                f"expected an output of shape (samples, classes), found {tuple(output.shape)}"
            )
        chances = output.detach().double().softmax(1).cpu()
        if not self._noise:
            # For the whole batch, so that no draw depends on how it is split.
            shape = (self._samples, chances.shape[1])
            self._noise = [
                torch.empty(shape, dtype=torch.float64, device="cpu").exponential_(
                    generator=self._noise_generator
                )
                for _ in range(DRAWS)
            ]
        for noise in self._noise:
            # The class whose exponential waiting time, at the rate of its chance, is shortest.
            labels = (chances / noise[part.rows]).argmax(1)
            value = functional.cross_entropy(output, labels.to(output.device), reduction="sum")
            for name, calls in part.differentiated(value):
                if name not in self._picks:
                    entries = weight_of(calls[0][0]).numel()
                    pick = torch.randint(entries, (1,), generator=self._generator, device="cpu")
                    self._picks[name] = int(pick)
                index = self._picks[name]
                columns = [sample_gradients_at(*call, part.size, index) for call in calls]
                self._columns.setdefault(name, []).append(torch.stack(columns).double().sum(0))
        if not self._columns:
            raise UndefinedProxyError("expected weights that the output depends on, found none")

    def result(self) -> torch.Tensor:
        return torch.stack([torch.cat(column) for column in self._columns.values()], dim=1)


SAMPLE_PRODUCTS: dict[str, Callable[[Subject], Any]] = {
    "sign_agreement": _SignAgreement,
    "tangent_kernel": _TangentKernel,
    "fisher_gradients": _FisherGradients,
}
