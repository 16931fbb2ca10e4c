import numpy as np
import pytest
import torch

import proxies
from predictnas.errors import InputError
from predictnas.scoring import ProxyScorer, expanded
from predictnas.spaces import Space
from predictnas.training import Recipe, Task, seeded

CELL = (3, 1, 2, 4, 0, 3)


@pytest.fixture
def scorer(space: Space, tiny_task: Task, tiny_recipe: Recipe) -> ProxyScorer:
    return ProxyScorer(space, tiny_task, tiny_recipe, device="cpu", batch_size=24)


class TestProxyScorer:
    def test_is_proxies_score_of_the_seeded_network(
        self, scorer: ProxyScorer, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        with seeded(0):
            network = space.build(CELL, (1, 8, 8), 3, **tiny_recipe.scale)
        order = torch.randperm(96, generator=torch.Generator().manual_seed(0))[:24]
        batch = tiny_task.train.images[order], tiny_task.train.labels[order]
        expected = proxies.score(network, batch, seed=0, device="cpu")
        found = scorer.score(CELL)
        assert {k: v.value for k, v in found.items()} == {k: v.value for k, v in expected.items()}

    def test_seed_changes_weights_and_batch(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        def value(seed: int) -> float:
            scorer = ProxyScorer(space, tiny_task, tiny_recipe, ["snip"], seed=seed, device="cpu")
            return scorer.score(CELL)["snip"].value

        assert value(0) == value(0)
        assert value(0) != value(1)

    def test_table_has_values_and_statuses(self, scorer: ProxyScorer, space: Space) -> None:
        dead = (0, 0, 0, 0, 0, 0)
        calls: list[int] = []
        table = scorer.table(np.array([CELL, dead]), lambda: calls.append(1))
        assert list(table["arch"]) == space.format_all(np.array([CELL, dead]))
        assert calls == [1, 1]
        assert (table[[c for c in table if c.startswith("status_")]].loc[0] == "ok").all()
        assert np.isnan(table.loc[1, "proxy_jacob_cov"])
        assert table.loc[1, "status_jacob_cov"] != "ok"
        assert table.loc[0, "proxy_flops"] == 2 * table.loc[0, "proxy_macs"]

    def test_batch_is_no_larger_than_the_task(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        scorer = ProxyScorer(space, tiny_task, tiny_recipe, device="cpu", batch_size=1000)
        assert scorer.provenance()["batch_size"] == 96

    def test_unknown_proxy(self, space: Space, tiny_task: Task, tiny_recipe: Recipe) -> None:
        with pytest.raises(InputError, match="unknown proxy 'magic'; choose from: params, macs"):
            ProxyScorer(space, tiny_task, tiny_recipe, ["magic"])

    def test_unknown_dtype(self, space: Space, tiny_task: Task, tiny_recipe: Recipe) -> None:
        with pytest.raises(InputError, match="unknown dtype 'int8'; choose from: float32, bfl"):
            ProxyScorer(space, tiny_task, tiny_recipe, dtype="int8")

    def test_dtype_reaches_the_proxies(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        def value(dtype: str | None) -> float:
            scorer = ProxyScorer(space, tiny_task, tiny_recipe, ["snip"], device="cpu", dtype=dtype)
            return scorer.score(CELL)["snip"].value

        assert value("float32") == value(None)
        assert value("float64") == pytest.approx(value(None), rel=1e-2)
        assert value("float64") != value(None)

    def test_network_too_large_has_no_values_and_the_others_go_on(
        self, scorer: ProxyScorer, space: Space, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        build = type(space).build

        def build_or_fail(
            self: Space, arch: tuple[int, ...], *args: object, **scale: int
        ) -> object:
            if tuple(arch) == (3,) * 6:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 TB")
            return build(self, arch, *args, **scale)

        monkeypatch.setattr(type(space), "build", build_or_fail)
        table = scorer.table(np.array([(3,) * 6, CELL]))
        assert np.isnan(table.loc[0, "proxy_params"])
        assert set(table.filter(like="status_").loc[0]) == {"out of memory on cpu"}
        assert set(table.filter(like="status_").loc[1]) == {"ok"}

    def test_conditions_are_of_values_not_of_columns(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        def scorer(names: list[str], seed: int = 0) -> ProxyScorer:
            return ProxyScorer(space, tiny_task, tiny_recipe, names, seed=seed, device="cpu")

        assert scorer(["snip"]).conditions() == scorer(["zen"]).conditions()
        assert scorer(["snip"]).conditions() != scorer(["snip"], seed=1).conditions()
        # Searches take over whole columns, so there the names count.
        assert scorer(["snip"]).identity != scorer(["zen"]).identity

    def test_measured_proxies_only_where_named_and_alone_on_the_machine(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = proxies.Proxy(lambda _: 1.0, -1, frozenset(), measured=True)
        monkeypatch.setitem(proxies.PROXIES, "clock", clock)
        assert "clock" not in ProxyScorer(space, tiny_task, tiny_recipe).names
        lines: list[str] = []
        scorer = ProxyScorer(
            *(space, tiny_task, tiny_recipe, ["clock"]),
            workers=2,  # which know no clock
            on_step=lines.append,
        )
        assert list(scorer.table(np.array([CELL, (3,) * 6]))["proxy_clock"]) == [1.0, 1.0]
        assert len(lines) == 1
        assert lines[0].startswith("one worker, because clock is measured")


def test_aggregates_stand_for_their_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(proxies.AGGREGATES, "both", ("snip", "zen"))
    assert expanded(["zen", "both", "flops"]) == ["zen", "snip", "flops"]
    with pytest.raises(InputError, match="unknown proxy 'neither'; choose from: .*zen.*, both"):
        expanded(["neither"])
