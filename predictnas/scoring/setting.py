"""What the scores of an architecture depend on, small enough to be handed to other processes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

import proxies
from predictnas.errors import CandidateError
from predictnas.spaces import Arch, Space
from predictnas.training import seeded
from predictnas.training.trainer import out_of_memory_fails

__all__ = ["ArchScores", "ScoringSetting", "lacked_memory"]

ArchScores: TypeAlias = dict[str, tuple[float, str]]
"""Proxy name → value (NaN where undefined) and status, of one architecture."""


@dataclass(frozen=True, eq=False)
class ScoringSetting:
    """Everything but the architecture that its scores depend on.

    Parameters
    ----------
    space
        The space of the architectures.
    input_shape, num_classes, scale
        The arguments of the space's ``build``.
    images, labels
        The batch, shapes ``(batch, channels, height, width)`` and ``(batch,)``, on the device
        where networks are scored.
    seed
        Seed of initial weights and of the proxies' own draws.
    dtype
        Name of the type to compute in, or None for the networks' own.
    """

    space: Space
    input_shape: tuple[int, int, int]
    num_classes: int
    scale: Mapping[str, int]
    images: Tensor
    labels: Tensor
    seed: int
    dtype: str | None

    def score(self, arch: Arch, names: Sequence[str]) -> dict[str, proxies.ProxyScore]:
        """Return the scores of one architecture by proxy name.

        Raises
        ------
        CandidateError
            If its network does not fit into memory.
        """
        device = self.images.device
        with out_of_memory_fails(device), seeded(self.seed):
            network = self.space.build(arch, self.input_shape, self.num_classes, **self.scale)
            scores = proxies.score(
                network.to(device),
                (self.images, self.labels),
                names,
                seed=self.seed,
                device=str(device),
                dtype=self.dtype,
            )
        return dict(scores)

    def try_score(self, arch: Arch, names: Sequence[str]) -> ArchScores:
        """Return values and statuses; a network too large for memory has no values."""
        try:
            scores = self.score(arch, names)
        except CandidateError as error:
            if self.images.device.type == "cuda":
                torch.cuda.empty_cache()  # what its parts took is for the next one
            return {name: (math.nan, str(error)) for name in names}
        return {name: (score.value, score.status) for name, score in scores.items()}


def lacked_memory(status: str) -> bool:
    """Return whether a value is missing for want of memory: another time there may be more."""
    return "out of memory" in status or "can't allocate memory" in status
