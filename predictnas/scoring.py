"""Zero-cost proxy scores of architectures: networks built, scored and thrown away."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import proxies
from predictnas import __version__
from predictnas.errors import unknown_name
from predictnas.spaces import Arch, Space
from predictnas.training import Recipe, Task, resolve_device, seeded, study_fingerprint
from predictnas.training.trainer import out_of_memory_fails

__all__ = ["ProxyScorer", "filled", "proxy_ranking"]


class ProxyScorer:
    """Scores architectures at initialisation with zero-cost proxies.

    Every network has the recipe's scale, is initialised from ``seed`` and sees the same batch:
    the first ``batch_size`` images of the training split in an order drawn from ``seed``.

    Parameters
    ----------
    space, task, recipe
        As the candidates would be trained.
    names
        Proxies; None: all that there are.
    seed
        Seed of initial weights, batch and the proxies' own draws.
    batch_size
        Images in the batch. Part of what a score means: several proxies depend on it.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, …
    on_batch
        Called with the number of architectures before a call scores them, for displays.

    Raises
    ------
    InputError
        If a proxy is unknown.
    """

    def __init__(
        self,
        space: Space,
        task: Task,
        recipe: Recipe,
        names: Sequence[str] | None = None,
        *,
        seed: int = 0,
        batch_size: int = 64,
        device: str = "auto",
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        for name in names or ():
            if name not in proxies.PROXIES:
                raise unknown_name("proxy", name, proxies.PROXIES)
        self.space = space
        self.task = task
        self.recipe = recipe
        self.names = list(dict.fromkeys(names)) if names else list(proxies.PROXIES)
        self.seed = seed
        self.on_batch = on_batch
        self.batch_size = min(batch_size, len(task.train))
        self.device = resolve_device(device)
        order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(seed))
        chosen = order[: self.batch_size]
        self._batch = (
            task.train.images[chosen].to(self.device),
            task.train.labels[chosen].to(self.device),
        )

    def score(self, arch: Arch) -> dict[str, proxies.ProxyScore]:
        """Return the scores of one architecture by proxy name."""
        with out_of_memory_fails(self.device), seeded(self.seed):
            network = self.space.build(
                arch, self.task.input_shape, self.task.num_classes, **self.recipe.scale
            )
        scores = proxies.score(
            network.to(self.device),
            self._batch,
            self.names,
            seed=self.seed,
            device=str(self.device),
        )
        return dict(scores)

    def table(
        self, archs: NDArray[np.int64], on_score: Callable[[], None] | None = None
    ) -> pd.DataFrame:
        """Return the scores of many architectures as a table.

        Parameters
        ----------
        archs
            Shape ``(n, choices)``.
        on_score
            Called after each architecture, for progress displays.

        Returns
        -------
        DataFrame
            Columns ``arch``, then ``proxy_NAME`` (NaN where undefined) and ``status_NAME``.
        """
        rows = []
        for arch in archs:
            native = tuple(int(i) for i in arch)
            row: dict[str, Any] = {"arch": self.space.format(native)}
            scores = self.score(native)
            row |= {f"proxy_{name}": score.value for name, score in scores.items()}
            row |= {f"status_{name}": score.status for name, score in scores.items()}
            rows.append(row)
            if on_score is not None:
                on_score()
        return pd.DataFrame(rows)

    def __call__(self, archs: NDArray[np.int64]) -> pd.DataFrame:
        """Return the ``proxy_*`` columns alone, NaN where undefined."""
        if self.on_batch is not None:
            self.on_batch(len(archs))
        return self.table(archs)[[f"proxy_{name}" for name in self.names]]

    def rank(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return the log-rank aggregate of the rows, larger for more promising ones."""
        return proxy_ranking(table)

    def fill(self, table: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
        """Return the scores with the worst of ``reference`` where they are undefined."""
        return filled(table, reference)

    @property
    def identity(self) -> str:
        """Hash of :meth:`provenance`: scorers that share it give scores that mean the same."""
        text = json.dumps(self.provenance(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def provenance(self) -> dict[str, Any]:
        """Return what the scores depend on, as JSON values."""
        return {
            "space": self.space.name,
            "task": self.task.name,
            "task_fingerprint": self.task.fingerprint,
            "fingerprint": study_fingerprint(self.space, self.task, self.recipe),
            "scale": dict(self.recipe.scale),
            "proxies": self.names,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "device": str(self.device),
            "dtype": str(self._batch[0].dtype).removeprefix("torch."),
            "versions": {"predictnas": __version__, "torch": torch.__version__},
        }


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
