"""Zero-cost proxies: scores of untrained networks, for any PyTorch module and a batch of data."""

from proxies.activations import naswot
from proxies.counts import flops, macs, params
from proxies.errors import ProxyError, UndefinedProxyError
from proxies.gradients import snip
from proxies.jacobian import jacob_cov
from proxies.probe import Probe
from proxies.proxy import Proxy
from proxies.ranking import DEFAULT_RANKING, rank_aggregate
from proxies.scoring import ProxyScore, Scores, score
from proxies.synaptic_flow import synflow
from proxies.zen_score import zen

__all__ = [
    "DEFAULT_RANKING",
    "PROXIES",
    "Probe",
    "Proxy",
    "ProxyError",
    "ProxyScore",
    "Scores",
    "UndefinedProxyError",
    "get_proxy",
    "rank_aggregate",
    "score",
]

PROXIES: dict[str, Proxy] = {
    "params": params,
    "macs": macs,
    "flops": flops,
    "jacob_cov": jacob_cov,
    "synflow": synflow,
    "snip": snip,
    "naswot": naswot,
    "zen": zen,
}


def get_proxy(name: str) -> Proxy:
    """Return the proxy of that name.

    Parameters
    ----------
    name
        A key of :data:`PROXIES`.

    Raises
    ------
    ProxyError
        If there is none.
    """
    if name not in PROXIES:
        raise ProxyError(f"unknown proxy {name!r}; choose from: {', '.join(PROXIES)}")
    return PROXIES[name]
