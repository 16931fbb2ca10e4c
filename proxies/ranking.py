"""Ranking a pool of networks by several proxies at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import proxies
from proxies.errors import ProxyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["AGGREGATES", "DEFAULT_RANKING", "rank_aggregate", "size_regularised"]

# Properties that have to come together: how much a network computes (flops), how many directions
# its features use (az_expressivity) and whether more from block to block (az_progressivity),
# whether gradients keep their size on the way back (az_trainability), how differently its
# gradients (jacob_cov) and its units (naswot) treat different images, and how little its channels
# repeat one another (meco); none decides alone where it misleads. These are the best of all
# combinations over five spaces, on architectures set aside for that: studies/default_aggregate.py.
DEFAULT_RANKING: tuple[str, ...] = (
    "flops",
    "jacob_cov",
    "naswot",
    "meco",
    "az_expressivity",
    "az_progressivity",
    "az_trainability",
)

# Named combinations: aggregate → proxies whose log ranks are added.
AGGREGATES: dict[str, tuple[str, ...]] = {
    "default": DEFAULT_RANKING,
    "te_nas": ("te_nas_condition", "te_nas_regions"),
    "az_nas": ("az_expressivity", "az_progressivity", "az_trainability", "flops"),
    "vkdnw_aggregate": ("vkdnw", "jacob_cov", "az_expressivity", "az_trainability", "flops"),
}


def rank_aggregate(
    table: Mapping[str, ArrayLike], directions: Mapping[str, int] | None = None
) -> NDArray[np.float64]:
    """Return for every network of a pool the non-linear rank aggregate Σ log(rank / N).

    The best of N networks has rank N, equal values share their mean rank, and networks without a
    value (nan) share the lowest ranks. Higher is better, 0 the best possible: a network has to be
    good by every proxy, for one low rank costs more than several high ones bring.

    Parameters
    ----------
    table
        Proxy name → values of the N networks; a mapping of arrays or a data frame.
    directions
        Proxy name → +1 if higher is better, −1 if lower is; the names say which columns count.
        All columns with the directions of :data:`~proxies.PROXIES` if not given.

    Returns
    -------
    numpy.ndarray
        The aggregate, shape ``(N,)``, float64.

    Raises
    ------
    ProxyError
        If there is no column, a column is missing, columns differ in length, or a direction is
        not +1 or −1.

    References
    ----------
    J. Lee, B. Ham: AZ-NAS: assembling zero-cost proxies for network architecture search. 2024.
    arXiv:2403.19232

    Examples
    --------
    >>> from proxies import rank_aggregate
    >>> rank_aggregate({"flops": [1.0, 2.0], "naswot": [3.0, 7.0]}).round(3)
    array([-1.386,  0.   ])
    """
    if directions is None:
        directions = {str(name): proxies.get_proxy(str(name)).direction for name in table}
    if not directions:
        raise ProxyError("expected at least one proxy to rank by, found none")
    total: Any = 0.0
    length = None
    for name, direction in directions.items():
        if direction not in (-1, 1):
            raise ProxyError(f"expected a direction of +1 or -1 for {name!r}, found {direction!r}")
        if name not in table:
            raise ProxyError(f"expected a column {name!r}; found: {', '.join(map(str, table))}")
        values = np.asarray(table[name], dtype=np.float64)
        length = len(values) if length is None and values.ndim == 1 else length
        if values.shape != (length,):
            raise ProxyError(
                f"expected one value a network in {name!r}, found shape {values.shape}"
                + (f" beside columns of length {length}" if length is not None else "")
            )
        total = total + np.log(_mean_ranks(direction * values) / max(len(values), 1))
    return np.asarray(total, dtype=np.float64)


def size_regularised(
    scores: ArrayLike, params: ArrayLike, *, centre: float, width: float
) -> NDArray[np.float64]:
    """Return scores damped away from a wanted size, s · exp(−(p − centre)² / width).

    The regularisation of the SWAP-Score, for a search for networks of about one size.

    Parameters
    ----------
    scores
        Values of the N networks, such as :func:`~proxies.activations.swap`.
    params
        Their numbers of parameters p.
    centre
        The wanted size, in the unit of `params`.
    width
        How fast scores fall away from it, in that unit squared.

    Raises
    ------
    ProxyError
        If `width` is not positive or the columns differ in length.

    References
    ----------
    Y. Peng, A. Song, H. Fayek, V. Ciesielski, X. Chang: SWAP-NAS: sample-wise activation patterns
    for ultra-fast NAS. 2024, definition 3.3. arXiv:2403.04161
    """
    values = np.asarray(scores, dtype=np.float64)
    sizes = np.asarray(params, dtype=np.float64)
    if not width > 0:
        raise ProxyError(f"expected a width above 0, found {width}")
    if values.shape != sizes.shape:
        raise ProxyError(
            f"expected one size a score, found scores of shape {values.shape} and sizes of shape "
            f"{sizes.shape}"
        )
    damped: NDArray[np.float64] = values * np.exp(-((sizes - centre) ** 2) / width)
    return damped


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1 (lowest; nan below everything), equal values sharing their mean rank."""
    # unique() sorts nan last; as the lowest value it needs a number below -inf: its own code.
    known = np.unique(values[~np.isnan(values)])
    codes = np.where(np.isnan(values), 0, np.searchsorted(known, values) + 1)
    counts = np.bincount(codes, minlength=len(known) + 1)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[codes]
    return ranks
