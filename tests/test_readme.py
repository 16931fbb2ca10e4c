"""Every command and every Python example of README runs as printed, with smaller numbers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Enough to go through every branch; the printed numbers would train for minutes.
SMALLER = {
    "--task digits": "--task digits --epochs 4",
    "--trials 60": "--trials 14",
    "--trials 20": "--trials 2",
    "--trials 30": "--trials 3",
    "--sizes 12,24 --repeats 5 --predictors auto,gp": "--sizes 4,6 --repeats 2 --predictors gp",
}
IN_ONE_PROCESS = """
import json, sys
from predictnas.cli import main

for words in json.load(sys.stdin):
    print("predictnas", *words, file=sys.stderr, flush=True)
    try:
        main(words)
    except SystemExit as end:
        if end.code:
            raise
"""
SMALLER_SAMPLE = re.compile(r"--sample \d+")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = "\n".join(blocks("bash")).splitlines()
    return [line for line in lines if line.startswith("predictnas ")]


def files() -> dict[str, str]:
    """Return the Python blocks that are files: those that begin with their name."""
    named = {source: re.match(r"# (\w+\.py)\n", source) for source in blocks("python")}
    return {match[1]: source for source, match in named.items() if match}


def smaller(command: str) -> str:
    for printed, small in SMALLER.items():
        command = command.replace(printed, small)
    return SMALLER_SAMPLE.sub("--sample 6", command)


def test_the_four_jobs_have_commands() -> None:
    jobs = {command.split()[1] for command in commands()}
    assert jobs >= {"search", "report", "export", "fit", "rank", "label", "score", "correlate"}


@pytest.mark.long
def test_commands_run_in_order(tmp_path: Path) -> None:
    for name, source in files().items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    # In one process: each of its own would begin with seconds of imports.
    subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS],
        input=json.dumps([smaller(command).split()[1:] for command in commands()]),
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"labels.db", "report.html", "winner", "predictor.npz", "scores.parquet"}
    assert names >= {"my_space.py", "mine.db", "mine.html"}


@pytest.mark.parametrize("source", blocks("python"))
def test_python_examples_run(source: str, tmp_path: Path) -> None:
    warnings = ["-W", "error", "-W", "ignore:`torch.jit.script` is deprecated:DeprecationWarning"]
    subprocess.run([sys.executable, *warnings, "-c", source], check=True, cwd=tmp_path)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("bash")), flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_names_are_those_of_the_registries() -> None:
    from predictnas.predictors import PREDICTORS
    from predictnas.search import SEARCHERS
    from predictnas.spaces import SPACES
    from proxies import PROXIES

    registries = {
        "spaces": SPACES,
        "proxies": PROXIES,
        "predictors": PREDICTORS,
        "searchers": SEARCHERS,
    }
    for kind, registry in registries.items():
        row = re.search(rf"^\| {kind} \| (.*) \|$", README, flags=re.MULTILINE)
        assert row is not None
        assert re.findall(r"`([\w-]+)`", row[1]) == list(registry)


def test_the_tables_are_what_the_code_makes() -> None:
    from predictnas.catalogue import with_tables

    assert with_tables(README) == README, "run: make readme"
