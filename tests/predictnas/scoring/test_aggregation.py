import numpy as np
import pandas as pd
import pytest

import proxies
from predictnas.scoring import filled, proxy_ranking


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
