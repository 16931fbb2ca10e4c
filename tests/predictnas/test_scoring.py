import numpy as np
import pandas as pd
import pytest
import torch

import proxies
from predictnas.errors import InputError
from predictnas.scoring import ProxyScorer, filled, proxy_ranking
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


class TestFilled:
    def test_undefined_becomes_the_worst_in_the_direction(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lower = proxies.Proxy(lambda _: 0.0, -1, frozenset())
        monkeypatch.setitem(proxies.PROXIES, "lower", lower)
        table = pd.DataFrame(
            {
                "arch": ["a", "b", "c"],
                "proxy_snip": [3.0, np.nan, 2.0],
                "proxy_lower": [3.0, np.nan, 2.0],
                "proxy_zen": [np.nan] * 3,
                "status_snip": ["ok", "dead", "ok"],
            }
        )
        found = filled(table)
        assert list(found.columns) == ["proxy_snip", "proxy_lower", "proxy_zen"]
        assert list(found["proxy_snip"]) == [3.0, 2.0, 2.0]
        assert list(found["proxy_lower"]) == [3.0, 3.0, 2.0]
        assert list(found["proxy_zen"]) == [0.0] * 3
        assert np.isnan(table.loc[1, "proxy_snip"])  # the table itself is left alone

    def test_stand_ins_come_from_the_reference_whoever_is_scored_together(self) -> None:
        reference = pd.DataFrame({"proxy_snip": [5.0, 1.0, np.nan], "proxy_zen": [np.nan] * 3})
        dead = pd.DataFrame({"proxy_snip": [np.nan], "proxy_zen": [7.0]})
        assert filled(dead, reference).to_dict("list") == {"proxy_snip": [1.0], "proxy_zen": [0.0]}


def test_ranking_is_the_log_rank_aggregate_worked_by_hand() -> None:
    table = pd.DataFrame({"proxy_flops": [1.0, 2.0, 3.0], "proxy_naswot": [5.0, 9.0, np.nan]})
    # Ranks 1, 2, 3 and 2, 3, 1 of 3.
    expected = np.log([1 / 3 * 2 / 3, 2 / 3 * 3 / 3, 3 / 3 * 1 / 3])
    np.testing.assert_allclose(proxy_ranking(table), expected)
