"""The probe: what proxies read off one module and one batch, each thing measured at most once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch

from proxies.errors import UndefinedProxyError, reason_of
from proxies.passes.batch import batch_pass
from proxies.passes.count import count_macs
from proxies.passes.features import Perturbation, perturbation
from proxies.passes.flow import log_synaptic_flow
from proxies.subject import subject_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

__all__ = ["Probe"]

T = TypeVar("T")

# α of the Zen-score.
_PERTURBATION = 0.01


class Probe:
    """One module and one batch, measured lazily; the model is left as it was.

    Each attribute runs the pass that it needs when it is first read and keeps the result, or the
    reason why there is none, which every later reading raises again. Loss gradients, input
    Jacobian and activation patterns come from one forward pass on the batch.

    Parameters
    ----------
    model, batch, seed, device, loss, micro_batch
        See :func:`proxies.score`.
    reads
        Products of the batch pass (`loss_gradients`, `input_jacobian`, `relu_signs`) that will be
        read: those are measured together with the first one read.

    Raises
    ------
    ProxyError
        If an argument cannot be used.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: tuple[torch.Tensor | tuple[torch.Tensor, ...], torch.Tensor | None],
        *,
        seed: int = 0,
        device: str | torch.device = "auto",
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        micro_batch: int | None = None,
        reads: Iterable[str] = (),
    ) -> None:
        self.subject = subject_of(
            model, batch, seed=seed, device=device, loss=loss, micro_batch=micro_batch
        )
        self._reads = frozenset(reads)
        self._measured: dict[str, Any] = {}

    @property
    def trainable_parameters(self) -> int:
        """Number of parameters with ``requires_grad``, a shared one counted once."""
        return sum(p.numel() for p in self.subject.model.parameters() if p.requires_grad)

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """Parameter name → its value on the device, a shared one once."""
        return {
            name: parameter.detach().to(self.subject.device)
            for name, parameter in self.subject.model.named_parameters()
        }

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers for one sample."""
        return self._once("macs", lambda: count_macs(self.subject))

    @property
    def loss_gradients(self) -> dict[str, torch.Tensor]:
        """Parameter name → gradient of the mean loss over the batch, with batch statistics."""
        gradients: dict[str, torch.Tensor] = self._from_batch("loss_gradients")
        return gradients

    @property
    def input_jacobian(self) -> torch.Tensor:
        """Gradient of the summed output by every sample's input, shape ``(B, inputs)``."""
        jacobian: torch.Tensor = self._from_batch("input_jacobian")
        return jacobian

    @property
    def relu_signs(self) -> list[torch.Tensor]:
        """For every live rectifier, which units are on: Boolean, shape ``(B, units)``."""
        signs: list[torch.Tensor] = self._from_batch("relu_signs")
        return signs

    @property
    def relu_agreement(self) -> torch.Tensor:
        """Number of units on which samples i and j agree, shape ``(B, B)``, float64."""
        return self._once("relu_agreement", self._relu_agreement)

    @property
    def log_synaptic_flow(self) -> float:
        """Log of Σ θ ⊙ ∂R/∂θ, R the sum of outputs for an all-ones input and |θ|."""
        return self._once("log_synaptic_flow", lambda: log_synaptic_flow(self.subject))

    @property
    def perturbation(self) -> Perturbation:
        """Feature maps of Gaussian inputs x and x + 0.01 ε, and x's batch variances."""
        return self._once("perturbation", lambda: perturbation(self.subject, _PERTURBATION))

    def _relu_agreement(self) -> torch.Tensor:
        """Count agreements as (units + s sᵀ) / 2 with signs s = ±1, exactly."""
        size = self.subject.batch_size
        agreement = torch.zeros(size, size, dtype=torch.float64, device=self.subject.device)
        for layer in self.relu_signs:
            # Whole numbers below 2²⁴ are exact in float32, whatever the order of summation.
            for block in torch.split(layer, 2**22, dim=1):
                signs = block.to(torch.float32).mul_(2).sub_(1)
                agreement += (block.shape[1] + (signs @ signs.T).double()) / 2
        return agreement

    def _once(self, name: str, measure: Callable[[], T]) -> T:
        if name not in self._measured:
            try:
                self._measured[name] = measure()
            except Exception as error:  # noqa: BLE001 - kept as a reason and raised below
                self._measured[name] = UndefinedProxyError(reason_of(error))
        found: T = self._read(name)
        return found

    def _from_batch(self, product: str) -> Any:
        if product not in self._measured:
            missing = {product} | {name for name in self._reads if name not in self._measured}
            self._measured.update(batch_pass(self.subject, sorted(missing)))
        return self._read(product)

    def _read(self, name: str) -> Any:
        found = self._measured[name]
        if isinstance(found, UndefinedProxyError):
            raise UndefinedProxyError(str(found))
        return found
