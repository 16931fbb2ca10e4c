"""Which proxies the default aggregate adds up, and how such a choice carries over.

Reads what ``proxy_correlation.py`` scored. For every combination of the proxies that all benchmarks
have, it adds up log ranks on the first architectures of each benchmark only (200 cells of
NAS-Bench-201, 100 architectures of every other), takes Kendall's τ with the accuracy, averages over
the targets of a space and then over spaces: the best combination is the default of
``proxies.AGGREGATES``, which is measured on the architectures that are left. To see how such a
choice does where nothing was chosen, it is also made without each space in turn and measured on all
of that space. Writes ``results/default_aggregate.json`` and ``.md``.

    python studies/default_aggregate.py --nasbench201 TABLE --other SPACE=TABLE:TARGET[:N] ...
    python studies/default_aggregate.py --smoke
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from correlation.benchmarks import CHOSEN_ON, Benchmark, benchmark, drawn, drawn_cells
from correlation.measures import SIZES
from correlation.tables import text
from numpy.typing import NDArray

import proxies
from predictnas.evaluation import Bootstrapped, Resamples, kendall_tau, ranking_quality
from predictnas.evaluation.json_values import json_value
from predictnas.spaces import get_space
from predictnas.tables import read_table, write_table

TARGET, SHOWN, LARGEST = "valid_accuracy", 10, 8
# Those that all benchmarks were scored by: sizes, and what costs at most a few forward passes.
CANDIDATES = (
    *("params", "flops", "depth", "synflow", "jacob_cov", "naswot", "meco"),
    *("az_expressivity", "az_progressivity", "az_trainability"),
)
DIRECTIONS = {name: proxies.PROXIES[name].direction for name in CANDIDATES}
DEFAULT = frozenset(proxies.DEFAULT_RANKING)


class Pool(NamedTuple):
    """The scored architectures of a benchmark, as drawn, and how many are to choose on."""

    space: str
    target_name: str
    scores: pd.DataFrame
    target: NDArray[np.float64]
    first: int

    def tau(self, names: Sequence[str], rows: slice) -> float:
        """Return Kendall's τ of an aggregate with the target."""
        return kendall_tau(self.aggregate(names, rows), self.target[rows])

    def measured(self, names: Sequence[str], rows: slice, resamples: int) -> Bootstrapped:
        """Return the same with an interval."""
        values, target = self.aggregate(names, rows), self.target[rows]
        chosen = Resamples(len(target), resamples=resamples, seed=0)
        return ranking_quality(values[None], target, chosen).kendall

    def aggregate(self, names: Sequence[str], rows: slice) -> NDArray[np.float64]:
        """Return the aggregate of a pool of rows."""
        part = {name: self.scores[name].to_numpy(dtype=np.float64)[rows] for name in names}
        return proxies.rank_aggregate(part, {name: DIRECTIONS[name] for name in names})


def pool_of(
    space: str, name: str, archs: list[str], target: NDArray[np.float64], file: Path, first: int
) -> Pool:
    """Read the scores of architectures; those that were not scored are left out."""
    table = read_table(file).set_index("arch").reindex(archs)
    # A score may be undefined, but then there is a status that says so.
    statuses = table[[f"status_{candidate}" for candidate in CANDIDATES]].fillna("")
    known = (statuses != "").all(axis=1).to_numpy()
    columns = {f"proxy_{candidate}": candidate for candidate in CANDIDATES}
    scores = table[known].rename(columns=columns)[list(CANDIDATES)]
    return Pool(space, name, scores, target[known], int(known[:first].sum()))


def read_pools(arguments: argparse.Namespace) -> list[Pool]:
    """Read every benchmark."""
    _, table = drawn_cells(arguments.nasbench201, TARGET, arguments.sample)
    archs, target = list(table.index), table[TARGET].to_numpy(dtype=np.float64)
    file, first = arguments.work / "seed0.parquet", CHOSEN_ON["nasbench201"]
    pools = [pool_of("nasbench201", TARGET, archs, target, file, min(first, len(archs) // 2))]
    for other in arguments.other:
        archs, target = drawn(other)
        first = min(CHOSEN_ON["others"], len(archs) // 2)
        file = arguments.work / other.file_name
        pools.append(pool_of(other.space, other.target, archs, target, file, first))
    return pools


def by_space(pools: Sequence[Pool], names: Sequence[str]) -> dict[str, float]:
    """Return τ on the first architectures of every space, a mean over its targets."""
    found: dict[str, list[float]] = {}
    for pool in pools:
        found.setdefault(pool.space, []).append(pool.tau(names, slice(pool.first)))
    return {space: float(np.mean(values)) for space, values in found.items()}


def mean_without(values: Mapping[str, float], left_out: str | None) -> float:
    """Return a mean over spaces but one."""
    return float(np.mean([value for space, value in values.items() if space != left_out]))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Try every combination and measure the default."""
    pools = read_pools(arguments)
    tried = [
        (combination, by_space(pools, combination))
        for count in range(1, LARGEST + 1)
        for combination in combinations(CANDIDATES, count)
    ]
    tried.sort(key=lambda entry: -mean_without(entry[1], None))
    rankings = {"default": proxies.DEFAULT_RANKING, **{name: (name,) for name in SIZES}}

    def everywhere(pool: Pool, found: Mapping[str, Sequence[str]], rows: slice) -> dict[str, Any]:
        return {
            title: pool.measured(members, rows, arguments.resamples).to_dict()
            for title, members in found.items()
        }

    others = []
    for space in dict.fromkeys(pool.space for pool in pools):
        best = max(tried, key=lambda entry: mean_without(entry[1], space))[0]
        for pool in (pool for pool in pools if pool.space == space):
            entry = everywhere(pool, {"chosen": best, **rankings}, slice(None))
            others.append({"space": space, "target": pool.target_name, "members": best} | entry)
    return {
        "command": command_line(arguments),
        "pools": [
            {"space": p.space, "target": p.target_name, "n": len(p.target), "first": p.first}
            for p in pools
        ],
        "interval": f"95 %, percentiles of {arguments.resamples} bootstrap resamples of the "
        "architectures; scores from one seed",
        "candidates": CANDIDATES,
        "combinations": len(tried),
        "best": [
            {"members": members, "mean": mean_without(values, None), "by_space": values}
            for members, values in tried[:SHOWN]
        ],
        "default_place": 1 + [frozenset(members) for members, _ in tried].index(DEFAULT),
        "left": [
            {"space": pool.space, "target": pool.target_name, "n": len(pool.target) - pool.first}
            | everywhere(pool, rankings, slice(pool.first, None))
            for pool in pools
        ],
        "without_space": others,
    }


def command_line(arguments: argparse.Namespace) -> str:
    """Return the command that made the result, with tables by file name."""
    words = ["python studies/default_aggregate.py --nasbench201 TABLE"]
    words += [other.option for other in arguments.other]
    return " ".join([*words, "--work studies/results/proxy_scores"])


def report(result: Mapping[str, Any]) -> str:
    """Return the result as Markdown."""
    spaces = list(result["best"][0]["by_space"])
    read = ", ".join(f"{p['space']} {p['target']} {p['n']} ({p['first']})" for p in result["pools"])
    lines = [
        "# Which proxies the default aggregate adds up",
        "",
        f"`{result['command']}`: Kendall's τ with the accuracy; intervals: {result['interval']}. "
        f"Scored architectures, in brackets those to choose on: {read}.",
        "",
        f"{result['combinations']} combinations of {', '.join(result['candidates'])}; the best on "
        "the architectures to choose on. By the mean over spaces the default has place "
        f"{result['default_place']}.",
        "",
        f"| combination | mean | {' | '.join(spaces)} |",
        f"|---|---|{'---|' * len(spaces)}",
    ]
    for entry in result["best"]:
        names = ", ".join(entry["members"])
        marked = f"**{names}**" if frozenset(entry["members"]) == DEFAULT else names
        values = " | ".join(f"{entry['by_space'][space]:.3f}" for space in spaces)
        lines.append(f"| {marked} | {entry['mean']:.4f} | {values} |")
    lines += [
        "",
        "## The default on the architectures that are left",
        "",
        "| space | target | architectures | default | params | FLOPs |",
        "|---|---|---|---|---|---|",
    ]
    for entry in result["left"]:
        cells = [entry["space"], entry["target"], str(entry["n"])]
        cells += [text(entry[name]) for name in ("default", *SIZES)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "## Chosen without a space, measured on all of its architectures",
        "",
        "| space | target | chosen on the others | τ | default | params | FLOPs |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in result["without_space"]:
        cells = [entry["space"], entry["target"], ", ".join(entry["members"])]
        cells += [text(entry[name]) for name in ("chosen", "default", *SIZES)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def smoke_inputs(arguments: argparse.Namespace) -> None:
    """Make tables and scores, so that the study runs without the published files."""
    rng = np.random.default_rng(0)
    arguments.sample, arguments.resamples = 40, 20
    arguments.nasbench201 = arguments.work / "nasbench201.parquet"
    micro = Benchmark("transnas101-micro", arguments.work / "micro.parquet", TARGET, 30)
    arguments.other = [micro]
    for name, path, scored in (
        ("nasbench201", arguments.nasbench201, "seed0.parquet"),
        (micro.space, micro.table, micro.file_name),
    ):
        space = get_space(name)
        cells = space.iterate()
        table = pd.DataFrame({"arch": space.format_all(cells)})
        table[TARGET] = (cells == 3).sum(axis=1) + rng.normal(size=len(cells))
        write_table(table, path, metadata={})
        for proxy in CANDIDATES:
            table[f"proxy_{proxy}"] = table[TARGET] + rng.normal(size=len(cells))
            table[f"status_{proxy}"] = "ok"
        write_table(table, arguments.work / scored, metadata={})


def main() -> None:
    """Choose, measure, write."""
    results = Path(__file__).parent / "results"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nasbench201", type=Path, help="table of all of NAS-Bench-201")
    parser.add_argument("--sample", type=int, default=2000, help="as in proxy_correlation.py")
    parser.add_argument("--other", type=benchmark, action="append", default=[])
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--work", type=Path, default=results / "proxy_scores")
    parser.add_argument("--out", type=Path, default=results)
    parser.add_argument("--smoke", action="store_true", help="made-up data, seconds")
    arguments = parser.parse_args()
    if not arguments.smoke and arguments.nasbench201 is None:
        parser.error("--nasbench201 is needed, or --smoke")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.smoke:
            arguments.work = Path(scratch)
            smoke_inputs(arguments)
        result = json_value(run(arguments))
    written = json.dumps(result, indent=1, allow_nan=False)
    (arguments.out / "default_aggregate.json").write_text(written + "\n", encoding="utf-8")
    (arguments.out / "default_aggregate.md").write_text(report(result), encoding="utf-8")
    print(report(result))


if __name__ == "__main__":
    main()
