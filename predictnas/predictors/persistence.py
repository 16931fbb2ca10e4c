"""Saving predictors to files that hold data only, and loading them."""

import dataclasses
import hashlib
import io
import json
import math
import os
import re
import secrets
import struct
import zipfile
import zlib
from collections.abc import Mapping
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import ArchGraph
from predictnas import __version__
from predictnas.errors import InputError
from predictnas.predictors.base import Predictor
from predictnas.predictors.deep_gp import DeepKernel
from predictnas.predictors.features import Features, GraphEncodings, NumericWarps
from predictnas.predictors.hyperparameters import Hyperparameters
from predictnas.predictors.pretrained_flow import PretrainedFlow
from predictnas.predictors.ridge import LinearHyperparameters
from predictnas.predictors.smoothing import ColumnSmoother
from predictnas.predictors.source_task import SourceTask
from predictnas.predictors.trees import Trees
from predictnas.predictors.warp import YeoJohnson
from predictnas.predictors.wl_gp import WLHyperparameters
from predictnas.predictors.wl_kernel import WLGraphs

__all__ = ["load_predictor", "plain_parameters", "save_predictor"]

FORMAT = 1
# What a file may hold beside plain values and arrays. Names in files resolve here and nowhere
# else, and building one of these runs no code but the assignment of its fields.
RECORDS: dict[str, type[Any]] = {
    record.__name__: record
    for record in (
        ColumnSmoother,
        DeepKernel,
        Features,
        GraphEncodings,
        Hyperparameters,
        LinearHyperparameters,
        NumericWarps,
        PretrainedFlow,
        SourceTask,
        Trees,
        WLGraphs,
        WLHyperparameters,
        YeoJohnson,
    )
}
HEADER, CHECKSUM = "header", "checksum"
FITTED = re.compile("[a-z][a-z0-9_]*_")
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError)


def save_predictor(
    predictor: Predictor, path: str | Path, *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Save a fitted predictor to one file.

    The file is a NumPy archive without pickles: a JSON header (format version, class, parameters,
    training fingerprint, versions of this package and of torch, metadata), the arrays, and a
    SHA-256 checksum over both. It replaces an existing file at once or not at all.

    Parameters
    ----------
    predictor
        A fitted predictor.
    path
        Where to save it.
    metadata
        Anything that JSON can hold and the reader should know, such as space and target.

    Raises
    ------
    InputError
        If the predictor is not fitted, a parameter or the metadata cannot be stored, or the file
        cannot be written.
    """
    if not any(name.endswith("_") for name in vars(predictor)):
        raise InputError("expected a fitted predictor to save, found an unfitted one; call fit")
    arrays: dict[str, NDArray[Any]] = {}
    header = {
        "format": FORMAT,
        "predictnas": __version__,
        "torch": distributions.version("torch"),
        "metadata": dict(metadata or {}),
        "predictor": _pack(predictor, arrays),
    }
    try:
        text = json.dumps(header, allow_nan=False, sort_keys=True).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"expected metadata that JSON can hold, found: {error}") from None
    arrays[HEADER] = np.frombuffer(text, dtype=np.uint8)
    arrays[CHECKSUM] = np.frombuffer(_digest(arrays), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    _write(Path(path), buffer.getvalue())


def load_predictor(path: str | Path) -> tuple[Predictor, dict[str, Any]]:
    """Load a predictor that `save_predictor` wrote, executing nothing from the file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    predictor : Predictor
        It predicts exactly as before saving.
    metadata : dict
        What was saved beside it.

    Raises
    ------
    InputError
        If the file cannot be read, is no saved predictor, was changed or cut short, or comes from
        a newer version.
    """
    arrays = _read(Path(path))
    broken = f"{path} is not a predictor saved by PredictNAS, or is damaged; fit and save it again"
    checksum = arrays.pop(CHECKSUM, None)
    if checksum is None or HEADER not in arrays or checksum.tobytes() != _digest(arrays):
        raise InputError(f"{broken} (the checksum does not match)")
    try:
        header = json.loads(arrays.pop(HEADER).tobytes())
        if header["format"] > FORMAT:
            raise InputError(
                f"{path} has format {header['format']}, written by PredictNAS "
                f"{header['predictnas']}, expected at most format {FORMAT}; upgrade PredictNAS"
            )
        predictor, metadata = _unpack(header["predictor"], arrays), header["metadata"]
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{broken} ({type(error).__name__} in its content)") from None
    if not isinstance(predictor, Predictor) or not isinstance(metadata, dict):
        raise InputError(f"{broken} (it holds something else)")
    return predictor, metadata


def plain_parameters(predictor: Predictor) -> dict[str, Any]:
    """Return the parameters of a predictor as values that JSON holds.

    A predictor among them becomes its name and parameters; what a predictor was handed of data,
    such as pretrained weights, a digest of it.

    Raises
    ------
    InputError
        If a parameter could not be saved.
    """
    found: dict[str, Any] = {}
    for name, value in predictor.get_params(deep=False).items():
        if isinstance(value, Predictor):
            found[name] = {"predictor": _registered_name(value), **plain_parameters(value)}
            continue
        try:
            found[name] = json.loads(json.dumps(value))
        except TypeError:  # data, or numbers of NumPy
            arrays: dict[str, NDArray[Any]] = {}
            packed = json.dumps(_pack(value, arrays), sort_keys=True).encode()
            found[name] = hashlib.sha256(packed + _digest(arrays)).hexdigest()[:32]
    return found


def _pack(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return a value as JSON, in which arrays are names of entries of `arrays`."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, np.ndarray) and value.dtype == object:
        return {"strings": [str(item) for item in value]}
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, (tuple, list)):
        return {type(value).__name__: [_pack(item, arrays) for item in value]}
    if isinstance(value, ArchGraph):
        return {"graph": value.to_json()}
    if RECORDS.get(type(value).__name__) is type(value):
        fields = dataclasses.fields(value)
        packed = {field.name: _pack(getattr(value, field.name), arrays) for field in fields}
        return {"record": type(value).__name__, "fields": packed}
    if isinstance(value, Predictor):
        parameters = value.get_params(deep=False)
        # In an order that does not change when a file is loaded: arrays are numbered in it.
        fitted = {name: vars(value)[name] for name in sorted(vars(value)) if name.endswith("_")}
        return {
            "predictor": _registered_name(value),
            "parameters": {name: _pack(item, arrays) for name, item in parameters.items()},
            "fitted": {name: _pack(item, arrays) for name, item in fitted.items()},
        }
    raise InputError(
        f"expected numbers, texts and arrays in a predictor to save, found {value!r} "
        f"({type(value).__name__}); replace it by one of these"
    )


def _unpack(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return what `_pack` was given."""
    match value:
        case {"array": name}:
            return arrays[name]
        case {"strings": items}:
            return np.asarray(items, dtype=object)
        case {"tuple": items}:
            return tuple(_unpack(item, arrays) for item in items)
        case {"list": items}:
            return [_unpack(item, arrays) for item in items]
        case {"graph": text}:
            return ArchGraph.from_json(text)
        case {"record": name, "fields": fields}:
            record = RECORDS[name](**{key: _unpack(item, arrays) for key, item in fields.items()})
            if isinstance(record, Features):
                record.check_layout()
            return record
        case {"predictor": name, "parameters": parameters, "fitted": fitted}:
            from predictnas.predictors import WRAPPERS, get_predictor

            unpacked = {key: _unpack(item, arrays) for key, item in parameters.items()}
            wrapper = WRAPPERS.get(name)
            predictor = get_predictor(name, **unpacked) if wrapper is None else wrapper(**unpacked)
            for key, item in fitted.items():
                if not FITTED.fullmatch(key):
                    raise KeyError(key)
                setattr(predictor, key, _unpack(item, arrays))
            return predictor
        case dict() | list():
            raise TypeError(type(value).__name__)
    return value


def _registered_name(predictor: Predictor) -> str:
    from predictnas.predictors import PREDICTORS, WRAPPERS

    for name, registered in {**PREDICTORS, **WRAPPERS}.items():
        if type(predictor) is registered:
            return name
    raise InputError(
        f"expected a predictor among {', '.join(PREDICTORS)}, found {type(predictor).__name__}; "
        "add it to PREDICTORS to save it"
    )


def _digest(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.digest()


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"expected a saved predictor at {path}, found {reason}; check the path"
        ) from None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
        with np.load(io.BytesIO(content), allow_pickle=False) as entries:
            return {name: entries[name] for name in names}
    except (EOFError, KeyError, MemoryError, OSError, ValueError, *ZIP_ERRORS):
        raise InputError(
            f"{path} is not a predictor saved by PredictNAS, or is damaged; fit and save it again"
        ) from None


def _write(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, it is either the old or the new one."""
    try:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            with partial.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"expected to write the predictor to {path}, found {reason}; "
            "give a file in a folder that exists and is writable"
        ) from None
