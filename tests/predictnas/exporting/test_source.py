import ast

from predictnas.exporting.source import standalone_source

NETWORK = '''"""A network.

With a long docstring."""

import math
from collections.abc import (
    Sequence,
)

from torch import Tensor, nn
import torch

__all__ = ["A"]

class A(nn.Linear):
    """Not the module's docstring."""


def build_network() -> nn.Module:
    return A(1, math.floor(1.5))


__all__ += ["build_network"]
'''


def source() -> str:
    return standalone_source(
        NETWORK,
        title="two\nlines",
        mean=(0.5,),
        std=(2.0,),
        input_shape=(1, 1, 1),
        state_file="state.pt",
    )


def test_is_one_tidy_module():
    tree = ast.parse(source())
    assert ast.get_docstring(tree) == "A network.\n\nWith a long docstring."
    imports = [ast.unparse(s) for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
    assert len(imports) == len(set(imports))
    assert {"import math", "import torch", "from collections.abc import Sequence"} < set(imports)
    kinds = [type(s) for s in tree.body]
    last_import = max(i for i, kind in enumerate(kinds) if kind in (ast.Import, ast.ImportFrom))
    assert last_import == len(imports)  # behind the docstring, before everything else
    assert source().startswith("# two lines\n")
    assert "__all__" not in source()


def test_needs_torch_alone():
    modules = set()
    for node in ast.walk(ast.parse(source())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module.split(".")[0])
    # NumPy reads .npy files and is imported where one is given.
    assert modules == {"argparse", "collections", "math", "numpy", "pathlib", "sys", "torch"}
