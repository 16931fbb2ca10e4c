"""Python source of an exported network that runs without this project."""

import ast
import inspect
from collections.abc import Sequence

from predictnas.exporting import standalone

__all__ = ["standalone_source"]


def standalone_source(
    network_source: str,
    *,
    title: str,
    mean: Sequence[float],
    std: Sequence[float],
    input_shape: Sequence[int],
    state_file: str,
) -> str:
    """Return Python source that rebuilds and runs an exported network and needs torch alone.

    Parameters
    ----------
    network_source
        Defines ``build_network()``, see `Space.network_source`.
    title
        What the network is, one line.
    mean, std
        The task's, one value for each channel.
    input_shape
        Channels, height and width of an image.
    state_file
        Name of the state dictionary that lies beside the source.
    """
    network_docstring, network_imports, network = _split_source(network_source)
    _, own_imports, own = _split_source(inspect.getsource(standalone))
    imports = sorted(network_imports | own_imports, key=lambda line: ("torch" in line, line))
    head = f"# {' '.join(title.split())}\n# Needs torch alone; reads {state_file} beside it.\n"
    tail = f'''\
MEAN = {tuple(mean)!r}
STD = {tuple(std)!r}
INPUT_SHAPE = {tuple(input_shape)!r}


def load(path: Path | str = Path(__file__).with_name({state_file!r})) -> nn.Module:
    """Return the trained network in eval mode.

    It maps images (batch, *INPUT_SHAPE), float32 in their original unit, to logits.
    """
    return load_state(normalized(build_network(), MEAN, STD), path)


if __name__ == "__main__":
    classify(load(), MEAN, STD, INPUT_SHAPE)
'''
    return "\n\n".join([head + network_docstring, "\n".join(imports), network, own, tail])


def _split_source(source: str) -> tuple[str, set[str], str]:
    """Return a module's docstring, its import lines, and the rest without ``__all__``."""
    lines = source.splitlines()
    docstring = ""
    imports: set[str] = set()
    dropped: set[int] = set()
    for statement in ast.parse(source).body:
        assert statement.end_lineno is not None  # statements that were parsed have one
        span = range(statement.lineno - 1, statement.end_lineno)
        text = "\n".join(lines[number] for number in span)
        match statement:
            case ast.Import() | ast.ImportFrom():
                imports.add(ast.unparse(statement))
            case ast.Expr(ast.Constant(str())):
                docstring = text
            case ast.Assign([ast.Name("__all__")]) | ast.AugAssign(ast.Name("__all__")):
                pass  # would hide what is added
            case _:
                continue
        dropped.update(span)
    rest = "\n".join(line for number, line in enumerate(lines) if number not in dropped)
    return docstring, imports, f"\n{rest.strip()}\n"
