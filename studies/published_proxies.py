"""Compare our proxies with published values of the same architectures.

Scores random cells of NAS-Bench-201 with ``predictnas score`` at the published setting (16
channels, 5 cells a stage, CIFAR-10 images, batch 64) and prints how our values and the ``proxy_*``
columns of a published table rank them. Needs two files that are not part of this repository: the
table (Parquet with ``arch`` and ``proxy_*`` columns, as NAS-Bench-Suite-Zero published them) and an
``.npz`` task of CIFAR-10 images. Writes ``results/published_proxies.json`` and ``.md``.

    python studies/published_proxies.py --table TABLE.parquet --task CIFAR10.npz
    python studies/published_proxies.py --smoke
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predictnas.evaluation import correlate
from predictnas.spaces import get_space
from predictnas.tables import read_table, write_table

PUBLISHED = {
    "params": "proxy_params",
    "flops": "proxy_flops",
    "synflow": "proxy_synflow",
    "snip": "proxy_snip",
    "jacob_cov": "proxy_jacov",
    "naswot": "proxy_nwot",
    "zen": "proxy_zen",
}


def score(archs: list[str], arguments: argparse.Namespace, folder: Path) -> pd.DataFrame:
    """Score architectures with the command line and read the table that it wrote."""
    (folder / "archs.txt").write_text("\n".join(archs) + "\n")
    command = [
        *(sys.executable, "-m", "predictnas", "score", "--space", "nasbench201"),
        *("--archs", str(folder / "archs.txt"), "--task", str(arguments.task)),
        *("--scale", f"channels={arguments.channels},cells={arguments.cells}"),
        *("--proxy-batch", "64", "--seed", str(arguments.seed)),
        *("--out", str(folder / "scores.parquet"), "--proxies", ",".join(PUBLISHED)),
    ]
    subprocess.run(command, check=True)
    return read_table(folder / "scores.parquet")


def smoke_inputs(arguments: argparse.Namespace, folder: Path) -> None:
    """Make a small task and a table of it, so that the study runs without the published files."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, size=(200, 8, 8, 3), dtype=np.uint8), np.arange(200) % 10
    arguments.task = folder / "task.npz"
    np.savez(arguments.task, x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    arguments.channels, arguments.cells, arguments.sample, arguments.seed = 4, 1, 8, 1
    space = get_space("nasbench201")
    archs = space.format_all(space.sample(10, rng, distinct=True))
    table = score(archs, arguments, folder).rename(
        columns={f"proxy_{ours}": theirs for ours, theirs in PUBLISHED.items()}
    )
    arguments.table, arguments.seed = folder / "table.parquet", 0
    write_table(table, arguments.table, metadata={})


def main() -> None:
    """Sample, score, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path)
    parser.add_argument("--task", type=Path)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--smoke", action="store_true", help="made-up data, seconds")
    arguments = parser.parse_args()
    if not arguments.smoke and (arguments.table is None or arguments.task is None):
        parser.error("--table and --task are needed, or --smoke")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.smoke:
            smoke_inputs(arguments, folder)
        table = read_table(arguments.table).dropna(subset=list(PUBLISHED.values()))
        table = table.sample(min(arguments.sample, len(table)), random_state=arguments.seed)
        scores = score(list(table["arch"]), arguments, folder)
    table = table.set_index("arch").loc[scores["arch"]].reset_index()
    result: dict[str, Any] = {
        "command": f"python studies/published_proxies.py --table TABLE --task TASK "
        f"--sample {arguments.sample} --seed {arguments.seed}",
        "data": f"{len(table)} random cells of NAS-Bench-201, {arguments.channels} channels, "
        f"{arguments.cells} cells a stage, one batch of 64 CIFAR-10 images, one initialisation",
        "interval": "95 %, infinitesimal jackknife on Fisher's scale",
        "proxies": {},
    }
    for ours, theirs in PUBLISHED.items():
        (found,) = correlate(scores[[f"proxy_{ours}"]], table[theirs].to_numpy())
        result["proxies"][ours] = found.to_dict()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "published_proxies.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = [
        "# Our proxies and the published ones",
        "",
        f"`{result['command']}`: {result['data']}; intervals: {result['interval']}.",
        "",
        "| proxy | cells | Spearman ρ with the published column | Kendall τ |",
        "|---|---|---|---|",
    ]
    for name, entry in result["proxies"].items():
        low, high = entry["spearman_interval"]
        rho, tau = entry["spearman"], entry["kendall"]
        lines.append(f"| {name} | {entry['n']} | {rho:.3f} [{low:.3f}, {high:.3f}] | {tau:.3f} |")
    (arguments.out / "published_proxies.md").write_text("\n".join([*lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
