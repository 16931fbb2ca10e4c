"""Zero-cost proxy scores of architectures: one, many in parallel, and files of them that grow."""

from predictnas.scoring.aggregation import filled, proxy_ranking
from predictnas.scoring.files import score_to_file
from predictnas.scoring.scorer import ProxyScorer, expanded
from predictnas.scoring.workers import WorkerError

__all__ = [
    "ProxyScorer",
    "WorkerError",
    "expanded",
    "filled",
    "proxy_ranking",
    "score_to_file",
]
