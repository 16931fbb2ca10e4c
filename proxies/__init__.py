"""Zero-cost proxies: scores of untrained networks, for any PyTorch module and a batch of data."""

from proxies.activations import naswot, swap, te_nas_regions
from proxies.blocks import az_expressivity, az_progressivity, az_trainability
from proxies.channel_correlation import meco
from proxies.counts import flops, macs, params
from proxies.errors import ProxyError, UndefinedProxyError
from proxies.gradients import fisher, grad_norm, grasp, l2_norm, plain, snip
from proxies.jacobian import epe_nas, jacob_cov
from proxies.network_cost import (
    Latency,
    activation_memory,
    depth,
    latency,
    latency_p95,
    measure_latency,
)
from proxies.probe import Probe
from proxies.proxy import Proxy
from proxies.ranking import AGGREGATES, DEFAULT_RANKING, rank_aggregate, size_regularised
from proxies.sample_gradients import gradsign, te_nas_condition, vkdnw, zico
from proxies.scoring import ProxyScore, Scores, score
from proxies.synaptic_flow import synflow
from proxies.zen_score import zen

__all__ = [
    "AGGREGATES",
    "DEFAULT_RANKING",
    "PROXIES",
    "Latency",
    "Probe",
    "Proxy",
    "ProxyError",
    "ProxyScore",
    "Scores",
    "UndefinedProxyError",
    "get_proxy",
    "measure_latency",
    "rank_aggregate",
    "score",
    "size_regularised",
]

PROXIES: dict[str, Proxy] = {
    # What a network costs.
    "params": params,
    "macs": macs,
    "flops": flops,
    "depth": depth,
    "activation_memory": activation_memory,
    "latency": latency,
    "latency_p95": latency_p95,
    # Weights alone.
    "l2_norm": l2_norm,
    "synflow": synflow,
    # Gradients of the loss.
    "grad_norm": grad_norm,
    "snip": snip,
    "plain": plain,
    "grasp": grasp,
    "fisher": fisher,
    "zico": zico,
    "gradsign": gradsign,
    "vkdnw": vkdnw,
    # Gradients of the output.
    "jacob_cov": jacob_cov,
    "epe_nas": epe_nas,
    "te_nas_condition": te_nas_condition,
    # Activations and features.
    "naswot": naswot,
    "swap": swap,
    "te_nas_regions": te_nas_regions,
    "zen": zen,
    "meco": meco,
    "az_expressivity": az_expressivity,
    "az_progressivity": az_progressivity,
    "az_trainability": az_trainability,
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
