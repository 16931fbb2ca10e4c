"""Scoring in several processes: the same values, and what happens when one fails or dies."""

import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

from predictnas.errors import InputError
from predictnas.scoring import ProxyScorer, WorkerError, workers
from predictnas.spaces import Arch, Space
from predictnas.spaces.nasbench201 import NasBench201
from predictnas.training import Recipe, Task

NAMES = ["params", "flops", "snip", "naswot", "jacob_cov"]
COUNTS = ["proxy_params", "proxy_flops"]


class FailingSpace(NasBench201):
    """Fails in its own way at some cells, wherever it is."""

    def build(self, arch: Arch, *args: object, **scale: int) -> nn.Module:  # type: ignore[override]
        if tuple(arch) == (1,) * 6:
            os.kill(os.getpid(), signal.SIGKILL)
        if tuple(arch) == (2,) * 6:
            raise InputError("expected another cell")
        return super().build(arch, *args, **scale)  # type: ignore[arg-type]


@pytest.fixture
def failing(tiny_task: Task, tiny_recipe: Recipe) -> ProxyScorer:
    return ProxyScorer(FailingSpace(), tiny_task, tiny_recipe, ["params"], device="cpu", workers=2)


def test_values_are_those_of_one_process(
    space: Space, tiny_task: Task, tiny_recipe: Recipe
) -> None:
    archs = np.concatenate([space.sample(6, np.random.default_rng(0)), [[0] * 6]])
    lines: list[str] = []
    calls: list[int] = []
    options = {"device": "cpu", "batch_size": 16, "on_step": lines.append}
    one = ProxyScorer(space, tiny_task, tiny_recipe, NAMES, threads=1, **options).table(archs)
    assert lines == []
    two = ProxyScorer(space, tiny_task, tiny_recipe, NAMES, workers=2, **options).table(
        archs, lambda: calls.append(1)
    )
    assert lines == ["scoring with 2 worker processes"]
    assert len(calls) == 7
    assert list(two.columns) == list(one.columns)
    assert two["arch"].tolist() == one["arch"].tolist()
    for column in one.columns[1:]:
        if column.startswith("status_") or column in COUNTS:
            assert two[column].tolist() == one[column].tolist()
        else:
            np.testing.assert_allclose(two[column], one[column], rtol=1e-12)


def test_death_of_a_worker_is_told_in_one_line(failing: ProxyScorer) -> None:
    archs = np.array([(1,) * 6, (3,) * 6])
    message = r"killed by signal 9 at \|skip_connect~0.* with fewer workers: --workers 1$"
    with pytest.raises(WorkerError, match=message):
        failing.table(archs)


def test_an_exception_of_a_worker_is_raised_here(failing: ProxyScorer) -> None:
    with pytest.raises(InputError, match="expected another cell"):
        failing.table(np.array([(2,) * 6, (3,) * 6]))


class TestAutomatic:
    def test_short_jobs_start_no_worker(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        lines: list[str] = []
        scorer = ProxyScorer(
            *(space, tiny_task, tiny_recipe, ["params"]), workers=None, on_step=lines.append
        )
        scorer.table(space.sample(20, np.random.default_rng(0)))
        assert lines == []

    @pytest.mark.parametrize(
        ("cores", "left", "threads", "expected"),
        [(8, 100, 1, 8), (8, 100, 4, 2), (8, 12, 1, 3), (8, 3, 1, 1), (2, 100, 4, 1)],
    )
    def test_number(
        self,
        failing: ProxyScorer,
        monkeypatch: pytest.MonkeyPatch,
        cores: int,
        left: int,
        threads: int,
        expected: int,
    ) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        assert workers._automatic(failing._setting, left, threads) == expected

    def test_long_jobs_are_handed_over_once_it_is_worth_it(
        self,
        space: Space,
        tiny_task: Task,
        tiny_recipe: Recipe,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(workers, "START_UP_SECONDS", 0.0)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
        lines: list[str] = []
        scorer = ProxyScorer(
            *(space, tiny_task, tiny_recipe, ["params"]), workers=None, on_step=lines.append
        )
        archs = space.sample(9, np.random.default_rng(0))
        table = scorer.table(archs)
        assert lines == ["scoring with 2 worker processes"]
        assert table["arch"].tolist() == space.format_all(archs)
        assert table["proxy_params"].notna().all()


def test_threads_are_restored(space: Space, tiny_task: Task, tiny_recipe: Recipe) -> None:
    before = torch.get_num_threads()
    scorer = ProxyScorer(space, tiny_task, tiny_recipe, ["params"], threads=before + 1)
    scorer.table(space.sample(1, np.random.default_rng(0)))
    assert torch.get_num_threads() == before
