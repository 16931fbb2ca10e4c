"""The forms in which a trained network is written, each read back and compared."""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from predictnas.errors import PredictNASError

__all__ = ["compare", "quiet", "write_onnx", "write_program", "write_source"]

TOLERANCE = 1e-4
_ONNX_ROWS = 2


def write_program(model: nn.Module, images: Tensor, path: Path) -> torch.export.ExportedProgram:
    """Write an ``.pt2`` file by torch.export, for batches of any size, and compare what it gives.

    Parameters
    ----------
    model
        In eval mode, on the CPU.
    images
        Two or more images as the model takes them.
    path
        Where to write.

    Raises
    ------
    PredictNASError
        If the file does not give the model's outputs.
    """
    batch = torch.export.Dim("batch")
    with torch.no_grad(), quiet():
        program = torch.export.export(model, (images[:2],), dynamic_shapes=({0: batch},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # names folders of whoever exported
        torch.export.save(program, path)
        loaded = torch.export.load(path).module()
        compare(path, model, loaded, images)
        compare(path, model, loaded, images[:1])
    return program


def write_onnx(
    model: nn.Module, program: torch.export.ExportedProgram, images: Tensor, path: Path
) -> None:
    """Write an ``.onnx`` file, one file for batches of any size, and compare what it gives.

    Its input is named ``images``, its output ``logits``. ONNX's own reference implementation
    evaluates it for the comparison; that is slow, so a few images have to do.

    Parameters
    ----------
    model, images
        As for :func:`write_program`.
    program
        What :func:`write_program` returned.
    path
        Where to write.

    Raises
    ------
    PredictNASError
        If the file does not give the model's outputs.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    with quiet():
        torch.onnx.export(
            program,
            (images[:2],),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
        )
        document = onnx.load(path)
        _tidy(document.graph)
        onnx.save(document, path)
        onnx.checker.check_model(str(path), full_check=True)
        evaluator = ReferenceEvaluator(str(path))

    def evaluate(batch: Tensor) -> Tensor:
        (logits,) = evaluator.run(None, {"images": batch.numpy()})
        return torch.from_numpy(np.asarray(logits))

    compare(path, model, evaluate, images[:_ONNX_ROWS])


def write_source(model: nn.Module, source: str, images: Tensor, path: Path) -> None:
    """Write Python source whose ``load()`` reads the weights beside it; compare what it gives.

    Parameters
    ----------
    model, images
        As for :func:`write_program`.
    source
        From :func:`~predictnas.exporting.source.standalone_source`.
    path
        Where to write; the state dictionary must be there already.

    Raises
    ------
    PredictNASError
        If what the source loads does not give the model's outputs.
    """
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("predictnas_exported_network", path)
    assert spec is not None  # the file is there and ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    compare(path, model, module.load(), images)


def _tidy(graph: Any) -> None:
    """Name the batch axis and drop the exporter's notes, which name folders of this computer."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.node, *graph.initializer):
        del value.metadata_props[:]
    old = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param == old:
                axis.dim_param = "batch"


def compare(
    path: Path,
    model: Callable[[Tensor], Tensor],
    other: Callable[[Tensor], Tensor],
    images: Tensor,
) -> None:
    """Check that two networks give the same logits, to 1e-4 of the largest (at least of one).

    Raises
    ------
    PredictNASError
        If they do not.
    """
    with torch.no_grad():
        expected, found = model(images), other(images)
    if found.shape != expected.shape:
        raise PredictNASError(
            f"{path.name}: expected outputs of shape {tuple(expected.shape)}, "
            f"found {tuple(found.shape)}; this is a fault of the export, please report it"
        )
    largest = float((found - expected).abs().max())
    allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
    if not largest <= allowed:
        raise PredictNASError(
            f"{path.name}: expected the outputs of the trained network to {allowed:.1g}, found a "
            f"difference of {largest:.3g}; this is a fault of the export, please report it"
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters say about themselves off the terminal; exceptions pass."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
