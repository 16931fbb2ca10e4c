"""A proxy: a function of a probe, with what is declared about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxies.errors import ProxyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxies.probe import Probe

__all__ = ["Proxy", "proxy"]


@dataclass(frozen=True)
class Proxy:
    """A score of an untrained network: a small function of a :class:`~proxies.Probe`.

    Parameters
    ----------
    function
        Returns the value, or raises :class:`~proxies.UndefinedProxyError` with the reason why
        there is none.
    direction
        +1 when higher values promise a better network, −1 when lower ones do. Declared from the
        definition, never read off a correlation.
    reads
        The products of the probe's batch pass that the function reads, so that one forward pass
        serves every proxy that is asked for together.
    measured
        Whether it is a stopwatch's reading: not reproducible, and computed only by name.
    half
        Whether sixteen-bit numbers are precise enough for it.
    """

    function: Callable[[Probe], float]
    direction: int
    reads: frozenset[str]
    measured: bool = False
    half: bool = False

    def __post_init__(self) -> None:
        if self.direction not in (-1, 1):
            raise ProxyError(f"expected a direction of +1 or -1, found {self.direction!r}")

    def __call__(self, probe: Probe) -> float:
        """Return the proxy's value for what the probe looks at."""
        return self.function(probe)


def proxy(
    *,
    direction: int = 1,
    reads: tuple[str, ...] = (),
    measured: bool = False,
    half: bool = False,
) -> Callable[[Callable[[Probe], float]], Proxy]:
    """Turn a function of a probe into a :class:`Proxy`.

    Parameters
    ----------
    direction
        +1 when higher values promise a better network, −1 when lower ones do.
    reads
        The products of the probe's batch pass that the function reads.
    measured, half
        See :class:`Proxy`.
    """

    def declare(function: Callable[[Probe], float]) -> Proxy:
        declared = Proxy(function, direction, frozenset(reads), measured, half)
        # help() and documentation builders shall show the function's own text.
        object.__setattr__(declared, "__doc__", function.__doc__)
        return declared

    return declare
