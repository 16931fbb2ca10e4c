"""The directions of imports that the design allows, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("encoders", "proxies", "predictnas")

# What a part may import beside itself and third parties. Parts that are not named here are
# the modules of `predictnas` that put the others together; nobody below may import those.
ALLOWED: dict[str, set[str]] = {
    "encoders": set(),
    "proxies": set(),
    "predictnas.errors": set(),
    "predictnas.spaces": {"encoders"},
    "predictnas.training": {"predictnas.spaces"},
    "predictnas.tables": {"encoders", "predictnas.spaces"},
    "predictnas.predictors": {"encoders"},
    "predictnas.search": {"predictnas.spaces", "predictnas.predictors"},
    "predictnas.evaluation": set(),
}
EVERYWHERE = {"predictnas", "predictnas.errors"}  # the version and the exceptions


def modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts), path)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


def part(module: str) -> str:
    """The unit that rules speak of: a package of ours, or a folder or file of predictnas."""
    names = module.split(".")
    if names[0] != "predictnas":
        return names[0]
    return ".".join(names[:2]) if names[1:] not in ([], ["__init__"]) else "predictnas"


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            # `from predictnas import errors` imports a module, `from predictnas.errors import …`
            # a name of one.
            for alias in node.names:
                child = ROOT / Path(*node.module.split("."), alias.name)
                is_module = child.is_dir() or child.with_suffix(".py").exists()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return {name for name in found if name.split(".")[0] in (*PACKAGES, "studies", "tests")}


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value))
def test_imports_go_one_way(module: str, path: Path) -> None:
    own = part(module)
    imported = {part(name) for name in imports(path)} - {own}
    assert not imported & {"studies", "tests"}, "nothing imports studies or tests"
    if own in ALLOWED:
        allowed = ALLOWED[own] | (EVERYWHERE if own.startswith("predictnas.") else set())
        assert imported <= allowed, f"{own} imports {sorted(imported - allowed)}"


def test_no_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for module, path in modules():
        graph.setdefault(part(module), set()).update(part(name) for name in imports(path))
    finished: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a cycle: {' → '.join([*above, name])}"
        if name not in finished:
            for other in graph.get(name, set()) - {name, "predictnas"}:
                visit(other, (*above, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def test_importing_changes_nothing_and_loads_nothing_heavy() -> None:
    """A fresh process: no random stream, flag, default or logger differs after the imports."""
    script = """
import logging, os, random, sys, warnings
import numpy as np, torch, sklearn, typer  # third parties do what they do
def state():
    return (
        random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
        torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled(),
        list(logging.root.handlers), warnings.filters[:], dict(os.environ),
    )
before = state()
import encoders, proxies, predictnas, predictnas.cli
assert state() == before
heavy = {"matplotlib", "botorch", "gpytorch", "torch_geometric", "onnx", "ray", "datasets"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
