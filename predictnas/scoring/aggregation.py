"""From proxy scores to one rank score a network, and to what predictors can read."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import proxies

__all__ = ["filled", "proxy_ranking"]


def filled(table: pd.DataFrame, reference: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the ``proxy_*`` columns as a predictor can read them: without undefined scores.

    A network whose proxy is undefined is nearly always a dead one, so the stand-in is the worst
    score, in the proxy's direction, of the architectures that the predictor learns from. It
    stays inside the column's range, unlike a sentinel, and is the same for every table that is
    filled from one reference. Only inputs of predictors are filled, never what is stored.

    Parameters
    ----------
    table
        Scores, NaN where undefined.
    reference
        Scores of the architectures that the predictor learns from; None: ``table`` itself. A
        column without any defined score there becomes zero throughout.
    """
    reference = table if reference is None else reference
    columns = {}
    for column in table.columns:
        if not str(column).startswith("proxy_"):
            continue
        known = reference[column].to_numpy(dtype=np.float64)
        known = known[np.isfinite(known)]
        values = table[column].to_numpy(dtype=np.float64, copy=True)
        if len(known):
            worst = known.max() if _direction(str(column)) < 0 else known.min()
            values[~np.isfinite(values)] = worst
        else:
            values[:] = 0.0
        columns[column] = values
    return pd.DataFrame(columns, index=table.index)


def proxy_ranking(table: pd.DataFrame) -> NDArray[np.float64]:
    """Aggregate the ``proxy_*`` columns of a table to one rank score a row, larger is better."""
    columns = [str(column) for column in table.columns if str(column).startswith("proxy_")]
    return proxies.rank_aggregate(
        {column: table[column].to_numpy(dtype=np.float64) for column in columns},
        {column: _direction(column) for column in columns},
    )


def _direction(column: str) -> int:
    name = column.removeprefix("proxy_")
    # Scores from elsewhere: nearly every proxy in the literature is better when larger.
    return proxies.PROXIES[name].direction if name in proxies.PROXIES else 1
