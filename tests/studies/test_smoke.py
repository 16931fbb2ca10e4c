"""Every study runs with ``--smoke`` and writes its results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.py"))


@pytest.mark.long
@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_smoke(study: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(study), "--smoke", "--out", str(tmp_path / "results")]
    if "--work" in study.read_text(encoding="utf-8"):
        command += ["--work", str(tmp_path / "work")]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert json.loads((tmp_path / "results" / f"{study.stem}.json").read_text())
    assert (tmp_path / "results" / f"{study.stem}.md").read_text().startswith("# ")


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_results_are_committed(study: Path) -> None:
    path = study.parent / "results" / f"{study.stem}.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    # A study whose parts are measured one by one names the command of each.
    assert all(part["command"] for part in result.get("parts", {}).values() or [result])
