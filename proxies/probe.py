"""The probe: what proxies read off one module and one batch, each thing measured at most once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from proxies.errors import UndefinedProxyError, is_out_of_memory, reason_of
from proxies.passes.agreement import count_agreements
from proxies.passes.batch import batch_pass, chunk_size
from proxies.passes.blocks import BlockFeatures, block_features
from proxies.passes.channels import smallest_eigenvalues
from proxies.passes.cost import depth, saved_bytes
from proxies.passes.count import count_macs
from proxies.passes.features import Perturbation, perturbation
from proxies.passes.flow import log_synaptic_flow
from proxies.passes.latency import Latency, latency
from proxies.passes.layers import layer_weights
from proxies.passes.samples import SAMPLE_PRODUCTS, sample_pass
from proxies.passes.splits import split_gradients
from proxies.subject import subject_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

    from proxies.subject import Subject

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
    model, batch, seed, device, loss, micro_batch, dtype
        See :func:`proxies.score`.
    reads
        Products of the batch pass (`loss_gradients`, `hessian_form`, `channel_saliency`,
        `input_jacobian`, `relu_signs`) and of the sample pass (`sign_agreement`, `tangent_kernel`,
        `fisher_gradients`) that will be read: those of a pass are measured together with the
        first one read.

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
        dtype: torch.dtype | str | None = None,
        reads: Iterable[str] = (),
    ) -> None:
        self.subject = subject_of(
            model, batch, seed=seed, device=device, loss=loss, micro_batch=micro_batch, dtype=dtype
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
    def layer_weights(self) -> list[str]:
        """Names of the weights of convolutions and linear layers."""
        names = self._once("layer_weights", lambda: layer_weights(self.subject.model))
        if not names:
            raise UndefinedProxyError("expected convolutions or linear layers, found none")
        return names

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
    def hessian_form(self) -> float:
        """θᵀ H g, with g and H the first two derivatives of the mean loss by layer weights θ."""
        return float(self._from_batch("hessian_form"))

    @property
    def channel_saliency(self) -> float:
        """Σ ½ mean_n (Σ a ⊙ ∂L/∂a)² over the channels a of what layers return."""
        return float(self._from_batch("channel_saliency"))

    @property
    def input_jacobian(self) -> torch.Tensor:
        """Gradient of the summed output by every sample's input, shape ``(B, inputs)``.

        Of the sum with signs where that without them is a constant; see
        :func:`~proxies.passes.input_jacobian.input_jacobian`.
        """
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
        return self._once(
            "relu_agreement",
            lambda: count_agreements(self.relu_signs, self.subject.batch_size),
        )

    @property
    def sign_agreement(self) -> float:
        """Σ_k |Σ_i sign ∂L_i/∂θ_k| over layer weights, L_i the loss of sample i."""
        agreement: float = self._from_samples("sign_agreement")
        return agreement

    @property
    def tangent_kernel(self) -> torch.Tensor:
        """Products of samples' gradients of the summed output by layer weights, ``(B, B)``."""
        kernel: torch.Tensor = self._from_samples("tangent_kernel")
        return kernel

    @property
    def fisher_gradients(self) -> torch.Tensor:
        """Gradients of drawn labels' log-likelihood by one weight a layer, ``(draws, layers)``."""
        gradients: torch.Tensor = self._from_samples("fisher_gradients")
        return gradients

    @property
    def split_gradients(self) -> list[dict[str, torch.Tensor]]:
        """For each half of the batch, as a batch of its own: layer weight → loss gradient."""
        return self._once("split_gradients", lambda: split_gradients(self.subject))

    @property
    def block_features(self) -> BlockFeatures:
        """What the network's blocks make of Gaussian noise, forwards and backwards."""
        return self._once("block_features", lambda: block_features(self.subject))

    @property
    def smallest_eigenvalues(self) -> list[float]:
        """For every layer, the smallest eigenvalue of its channels' correlations."""
        return self._once("smallest_eigenvalues", lambda: smallest_eigenvalues(self.subject))

    @property
    def activation_memory(self) -> float:
        """Bytes a sample that training keeps for the backward pass."""
        return self._once("activation_memory", lambda: saved_bytes(self.subject))

    @property
    def depth(self) -> int:
        """The largest number of weighted layers between input and output."""
        return self._once("depth", lambda: depth(self.subject))

    @property
    def latency(self) -> Latency:
        """Time of inference on the batch."""
        return self._once("latency", lambda: latency(self.subject))

    @property
    def log_synaptic_flow(self) -> float:
        """Log of Σ θ ⊙ ∂R/∂θ, R the sum of outputs for an all-ones input and |θ|."""
        return self._once("log_synaptic_flow", lambda: log_synaptic_flow(self.subject))

    @property
    def perturbation(self) -> Perturbation:
        """Feature maps of Gaussian inputs x and x + 0.01 ε, and x's batch variances."""
        return self._once("perturbation", lambda: perturbation(self.subject, _PERTURBATION))

    def _once(self, name: str, measure: Callable[[], T]) -> T:
        if name not in self._measured:
            try:
                self._measured[name] = self._in_memory(measure)
            except Exception as error:  # noqa: BLE001 - kept as a reason and raised below
                self._measured[name] = UndefinedProxyError(reason_of(error))
        found: T = self._read(name)
        return found

    def _from_batch(self, product: str) -> Any:
        return self._from_pass(
            product,
            self._reads - set(SAMPLE_PRODUCTS),
            lambda names: batch_pass(self.subject, names),
        )

    def _from_samples(self, product: str) -> Any:
        return self._from_pass(
            product,
            self._reads & set(SAMPLE_PRODUCTS),
            lambda names: sample_pass(self.subject, names),
        )

    def _from_pass(
        self, product: str, others: frozenset[str], run: Callable[[list[str]], dict[str, Any]]
    ) -> Any:
        """Measure a product, and with it those that will be read and come from the same pass."""
        if product not in self._measured:
            missing = sorted({product} | {name for name in others if name not in self._measured})
            try:
                self._measured.update(self._in_memory(lambda: run(missing)))
            except Exception as error:  # noqa: BLE001 - kept as a reason and raised below
                failed = missing
                if is_out_of_memory(error) and "hessian_form" in missing and len(missing) > 1:
                    # Second derivatives take the most memory: the others may fit without.
                    failed = ["hessian_form"]
                self._measured.update(dict.fromkeys(failed, UndefinedProxyError(reason_of(error))))
        if product not in self._measured:
            return self._from_pass(product, others, run)
        return self._read(product)

    def _in_memory(self, measure: Callable[[], T]) -> T:
        """Measure; where memory runs out, again with half as many samples at a time."""
        given = self.subject
        while True:
            try:
                return measure()
            except Exception as error:
                smaller = self._smaller() if is_out_of_memory(error) else None
                if smaller is None:
                    # What did not help here is not needed elsewhere.
                    self.subject = given
                    raise
                self.subject = smaller
            if self.subject.device.type == "cuda":
                torch.cuda.empty_cache()

    def _smaller(self) -> Subject | None:
        """Return the subject with half the micro-batch, or None where that would not help."""
        size = self.subject.micro_batch or self.subject.batch_size
        if size == 1:
            return None
        smaller = replace(self.subject, micro_batch=(size + 1) // 2)
        if chunk_size(smaller) < self.subject.batch_size:
            return smaller
        # The batch stays whole: a micro-batch only moves what is kept off an accelerator, once.
        helps = self.subject.device.type != "cpu" and self.subject.micro_batch is None
        return smaller if helps else None

    def _read(self, name: str) -> Any:
        found = self._measured[name]
        if isinstance(found, UndefinedProxyError):
            raise UndefinedProxyError(str(found))
        return found
