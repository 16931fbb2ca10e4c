"""Compare the search with random draws, every label trained for real.

Runs ``predictnas search`` on the built-in task for every searcher and seed, each in a study of its
own, and compares the best validation accuracy after every number of trials. A searcher's seed is
also the seed of its trainings, so runs of one seed are compared pairwise. Random search draws
independently: the few architectures that it draws twice are spent trials, as in the literature.
Interrupted, the same command goes on. Writes ``results/search_vs_random.json``, ``.md``, ``.svg``.

    python studies/search_vs_random.py
    python studies/search_vs_random.py --smoke
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictnas.evaluation import best_so_far, mean_interval, paired_difference
from predictnas.labels import labels_frame, load_study
from predictnas.storages import StudyAddress

# Named, so that the committed result stays that of the command whatever the default becomes.
PROXIES = "flops,jacob_cov,naswot"
COLORS = {"bananas": "#0072B2", "random": "#999999", "tpe": "#D55E00"}


def search_command(searcher: str, seed: int, trials: int, epochs: int, work: Path) -> list[str]:
    """Return the command of one run, as a user would type it."""
    proxies = ("--proxies", PROXIES) if searcher == "bananas" else ()
    return [
        *(sys.executable, "-m", "predictnas", "search"),
        *("--space", "nasbench201", "--task", "digits", "--searcher", searcher, *proxies),
        *("--trials", str(trials), "--seed", str(seed), "--epochs", str(epochs)),
        *("--study", f"sqlite:///{work}/{searcher}-{seed}-{epochs}.db"),
        *("--threads", "1", "--device", "cpu"),
    ]


def run_all(arguments: argparse.Namespace, work: Path) -> None:
    """Run every search, as many at a time as there are workers."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(searcher: str, seed: int) -> None:
        command = search_command(searcher, seed, arguments.trials, arguments.epochs, work)
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        print(f"{searcher}, seed {seed}: done", flush=True)

    with ThreadPoolExecutor(arguments.workers) as pool:
        # Seed by seed, so that a study that broke off compares all searchers on what it has.
        jobs = [
            pool.submit(run, searcher, seed)
            for seed in range(arguments.seeds)
            for searcher in arguments.searchers
        ]
        for job in jobs:
            job.result()


def trajectories(
    searcher: str, arguments: argparse.Namespace, work: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return best-so-far validation accuracy ``(seeds, trials)`` and the winners' test accuracy."""
    curves, tests = [], []
    for seed in range(arguments.seeds):
        address = StudyAddress(f"sqlite:///{work}/{searcher}-{seed}-{arguments.epochs}.db")
        study = load_study(address)
        # Every trial that ended counts, failed and repeated ones too: they were spent.
        values = [
            trial.value if trial.value is not None else 0.0
            for trial in study.get_trials(deepcopy=False)
            if trial.state.is_finished()
            and (trial.value is not None or "failure" in trial.user_attrs)
        ][: arguments.trials]
        curves.append(best_so_far(values))
        frame = labels_frame(study)
        tests.append(frame.loc[frame["valid_accuracy"].idxmax(), "test_accuracy"])
    return np.array(curves), np.array(tests, dtype=np.float64)


def summarise(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Compare all searchers with random search."""
    runs = {name: trajectories(name, arguments, work) for name in arguments.searchers}
    result: dict[str, Any] = {
        "command": "python studies/search_vs_random.py "
        f"--searchers {' '.join(arguments.searchers)} --seeds {arguments.seeds} "
        f"--trials {arguments.trials} --epochs {arguments.epochs}",
        "data": "space nasbench201, task digits, every label trained for real",
        "seeds": arguments.seeds,
        "interval": "95 %, Student's t over seeds",
        "searchers": {},
    }
    for name, (curves, tests) in runs.items():
        best = mean_interval(curves[:, -1])
        entry: dict[str, Any] = {
            "best_valid_accuracy": best.to_dict(),
            "winner_test_accuracy": mean_interval(tests).to_dict(),
            "best_so_far": curves.tolist(),
        }
        if name != "random" and "random" in runs:
            difference = paired_difference(curves[:, -1], runs["random"][0][:, -1])
            entry["gain_over_random"] = difference.to_dict()
        result["searchers"][name] = entry
    return result


def write_markdown(result: dict[str, Any], path: Path) -> None:
    """Write the result as a table."""

    def text(value: dict[str, Any]) -> str:
        if value["low"] is None:
            return f"{value['mean']:.2f}"
        return f"{value['mean']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"

    lines = [
        "# Search against random search",
        "",
        f"`{result['command']}`: {result['data']}; {result['seeds']} seeds; accuracies in percent, "
        f"mean [interval], {result['interval']}.",
        "",
        "| searcher | best validation accuracy | gain over random, pairwise | test, winner |",
        "|---|---|---|---|",
    ]
    for name, entry in result["searchers"].items():
        cells = [
            text(entry[key]) if key in entry else "–"
            for key in ("best_valid_accuracy", "gain_over_random", "winner_test_accuracy")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    path.write_text("\n".join([*lines, "", "![best so far](search_vs_random.svg)", ""]))


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the mean best-so-far curves with their intervals."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "search_vs_random", "font.size": 10}):
        figure = Figure(figsize=(7.0, 4.0), layout="constrained")
        axes = figure.subplots()
        for name, entry in result["searchers"].items():
            curves = np.array(entry["best_so_far"])
            over_seeds = mean_interval(curves)
            color = COLORS.get(name, "#009E73")
            steps = np.arange(1, curves.shape[1] + 1)
            axes.plot(steps, over_seeds.mean, color=color, label=name, linewidth=2)
            axes.fill_between(
                steps, over_seeds.low, over_seeds.high, color=color, alpha=0.15, linewidth=0
            )
        last = np.array([entry["best_so_far"] for entry in result["searchers"].values()])
        axes.set_ylim(float(last[:, :, 2:].min()) - 0.5 if last.shape[2] > 2 else None, None)
        axes.set_xlabel("architectures trained")
        axes.set_ylabel("best validation accuracy so far (%)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run, summarise, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searchers", nargs="+", default=["bananas", "random"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument("--smoke", action="store_true", help="seconds instead of an hour")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.seeds, arguments.trials, arguments.epochs = 2, 3, 1
        arguments.searchers = ["bananas", "random"]
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    run_all(arguments, arguments.work.resolve())
    result = summarise(arguments, arguments.work.resolve())
    (arguments.out / "search_vs_random.json").write_text(json.dumps(result, indent=1) + "\n")
    write_markdown(result, arguments.out / "search_vs_random.md")
    draw(result, arguments.out / "search_vs_random.svg")
    print((arguments.out / "search_vs_random.md").read_text())


if __name__ == "__main__":
    main()
