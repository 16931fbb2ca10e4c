"""Zero-cost proxy scores of architectures: networks built, scored and thrown away."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import proxies
from predictnas import __version__
from predictnas.errors import unknown_name
from predictnas.scoring.aggregation import filled, proxy_ranking
from predictnas.scoring.setting import ArchScores, ScoringSetting
from predictnas.scoring.workers import Job, score_jobs
from predictnas.spaces import Arch, Space
from predictnas.training import Recipe, Task, resolve_device, study_fingerprint
from proxies.passes.splits import SPLITS

__all__ = ["DTYPES", "ProxyScorer", "expanded", "score_table"]

DTYPES = ("float32", "bfloat16", "float64")


class ProxyScorer:
    """Scores architectures at initialisation with zero-cost proxies.

    Every network has the recipe's scale, is initialised from ``seed`` and sees the same batch:
    the first ``batch_size`` images of the training split in an order drawn from ``seed``.

    Parameters
    ----------
    space, task, recipe
        As the candidates would be trained.
    names
        Proxies, or aggregates of proxies, which stand for these; None: all proxies but those
        that measure the machine.
    seed
        Seed of initial weights, batch and the proxies' own draws.
    batch_size
        Images in the batch. Part of what a score means: several proxies depend on it.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, …
    dtype
        Type to compute in, one of ``DTYPES``; None: the networks' own.
    workers, threads
        Processes in which tables are scored, and CPU threads of each; see
        :func:`~predictnas.scoring.workers.score_jobs`.
    on_batch
        Called with the number of architectures before a call scores them, for displays.
    on_step
        Called with a line about how tables are scored.

    Raises
    ------
    InputError
        If a proxy or the type is unknown.
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
        dtype: str | None = None,
        workers: int | None = 1,
        threads: int | None = None,
        on_batch: Callable[[int], None] | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        if dtype is not None and dtype not in DTYPES:
            raise unknown_name("dtype", dtype, DTYPES)
        self.space = space
        self.task = task
        self.recipe = recipe
        self.names = expanded(names) if names else _unmeasured()
        self.seed = seed
        self.workers = workers
        self.threads = threads
        self.on_batch = on_batch
        self.on_step = on_step
        self.batch_size = min(batch_size, len(task.train))
        self.device = resolve_device(device)
        self.dtype = dtype
        order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(seed))
        chosen = order[: self.batch_size]
        self._setting = ScoringSetting(
            space=space,
            input_shape=task.input_shape,
            num_classes=task.num_classes,
            scale=dict(recipe.scale),
            images=task.train.images[chosen].to(self.device),
            labels=task.train.labels[chosen].to(self.device),
            seed=seed,
            dtype=dtype,
        )

    def score(self, arch: Arch) -> dict[str, proxies.ProxyScore]:
        """Return the scores of one architecture by proxy name.

        Raises
        ------
        CandidateError
            If its network does not fit into memory.
        """
        return self._setting.score(arch, self.names)

    def score_jobs(self, jobs: Sequence[Job]) -> Generator[tuple[int, ArchScores], None, None]:
        """Score architectures in the scorer's processes, each with its own list of proxies.

        Yields the number of each job with its scores, in any order; see
        :func:`~predictnas.scoring.workers.score_jobs`.
        """
        workers = self.workers
        asked = {name for _, names in jobs for name in names}
        measured = sorted(name for name in asked if proxies.PROXIES[name].measured)
        if measured and workers != 1:
            workers = 1
            if self.on_step is not None:
                self.on_step(
                    f"one worker, because {', '.join(measured)} is measured on this machine: "
                    "others would disturb it"
                )
        return score_jobs(
            self._setting, jobs, workers=workers, threads=self.threads, on_step=self.on_step
        )

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
            Columns ``arch``, then ``proxy_NAME`` (NaN where undefined) and ``status_NAME``, a
            row an architecture. One that does not fit into memory has no values.
        """
        jobs = self._jobs(archs)
        found: list[ArchScores] = [{} for _ in jobs]
        with contextlib.closing(self.score_jobs(jobs)) as scored:
            for number, scores in scored:
                found[number] = scores
                if on_score is not None:
                    on_score()
        return score_table(self.space.format_all(archs), found, self.names)

    def __call__(self, archs: NDArray[np.int64]) -> pd.DataFrame:
        """Return the ``proxy_*`` columns alone, NaN where undefined, scored in this process."""
        if self.on_batch is not None:
            self.on_batch(len(archs))
        rows = [self._setting.try_score(arch, names) for arch, names in self._jobs(archs)]
        table = score_table(self.space.format_all(archs), rows, self.names)
        return table[[f"proxy_{name}" for name in self.names]]

    def rank(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """Return the log-rank aggregate of the rows, larger for more promising ones."""
        return proxy_ranking(table)

    def fill(self, table: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
        """Return the scores with the worst of ``reference`` where they are undefined."""
        return filled(table, reference)

    @property
    def identity(self) -> str:
        """Hash of :meth:`conditions` and names: scorers that share it give the same columns."""
        text = json.dumps([self.conditions(), self.names], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def conditions(self) -> dict[str, Any]:
        """Return what every value depends on, as JSON values.

        Scores computed under equal conditions may stand in one column.
        """
        return {
            "space": self.space.name,
            **self._choices(),
            "task_fingerprint": self.task.fingerprint,
            "scale": dict(sorted(self.recipe.scale.items())),
            "seed": self.seed,
            "batch_size": self.batch_size,
            "device": self.device.type,
            "dtype": self.dtype or str(torch.get_default_dtype()).removeprefix("torch."),
            "versions": {"predictnas": __version__, "torch": torch.__version__},
        }

    def _choices(self) -> dict[str, str]:
        """Return what tells spaces of one name apart, where something does."""
        identity = self.space.identity
        return {} if identity == self.space.name else {"space_identity": identity}

    def provenance(self) -> dict[str, Any]:
        """Return the conditions, with what else a reader wants to know of the scores."""
        return {
            **self.conditions(),
            "mode": "training",
            "splits": SPLITS,
            "task": self.task.name,
            "fingerprint": study_fingerprint(self.space, self.task, self.recipe),
            "proxies": self.names,
        }

    def _jobs(self, archs: NDArray[np.int64]) -> list[Job]:
        return [(tuple(int(i) for i in arch), self.names) for arch in archs]


def expanded(names: Sequence[str]) -> list[str]:
    """Return the proxies that names stand for: themselves, or those of an aggregate; each once.

    Raises
    ------
    InputError
        If a name is neither a proxy's nor an aggregate's.
    """
    aggregates = proxies.AGGREGATES
    found: dict[str, None] = {}
    for name in names:
        if name not in proxies.PROXIES and name not in aggregates:
            raise unknown_name("proxy", name, [*proxies.PROXIES, *aggregates])
        found.update(dict.fromkeys(aggregates.get(name, (name,))))
    return list(found)


def score_table(
    texts: Sequence[str], rows: Sequence[ArchScores], names: Sequence[str]
) -> pd.DataFrame:
    """Return scores as a table.

    Parameters
    ----------
    texts
        The architectures in native text.
    rows
        Their scores.
    names
        Proxies. What a row lacks of them is NaN and has no status.

    Returns
    -------
    DataFrame
        Columns ``arch``, then ``proxy_NAME``, then ``status_NAME``.
    """
    absent = (np.nan, None)
    values = {f"proxy_{n}": [row.get(n, absent)[0] for row in rows] for n in names}
    statuses = {f"status_{n}": [row.get(n, absent)[1] for row in rows] for n in names}
    numbers = {name: np.array(column, dtype=np.float64) for name, column in values.items()}
    return pd.DataFrame({"arch": list(texts), **numbers, **statuses})


def _unmeasured() -> list[str]:
    return [name for name, proxy in proxies.PROXIES.items() if not proxy.measured]
