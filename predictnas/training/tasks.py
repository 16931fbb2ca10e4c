"""Tasks: the images that candidates are trained, validated and tested on."""

import hashlib
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictnas.errors import InputError, unknown_name

__all__ = ["TASKS", "Split", "Task", "digits", "load_task", "read_npz"]

Array = NDArray[np.generic]

# What numpy raises on files that are damaged or something else.
_DAMAGED = (
    *(OSError, ValueError, EOFError, AttributeError, TypeError, KeyError, NotImplementedError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)

_SPLIT_SEED = 20_100  # every split and every noise image is the same on every machine


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one part of a task.

    Parameters
    ----------
    images
        Standardised images, float32, shape ``(n, channels, height, width)``.
    labels
        Class of every image, int64 in ``[0, num_classes)``, shape ``(n,)``.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        """Return the split with its tensors on ``device``."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Task:
    """An image classification problem with fixed splits.

    Search and predictors see ``train`` and ``valid``; ``test`` is read once per trained
    network, for the report.

    Parameters
    ----------
    name
        Short name, part of the names of studies.
    train, valid, test
        The three splits, standardised with the mean and deviation of the training images.
    num_classes
        Number of classes.
    mean, std
        Per channel, in the unit of the original images: ``original = image * std + mean``.
    suggested_scale
        Network scale that suits the size of the task, for the spaces that know these names.
    source
        What :func:`load_task` was given, by which the task can be loaded again.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    suggested_scale: Mapping[str, int] = field(default_factory=dict)
    source: str = ""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.images.shape[1:]
        return int(channels), int(height), int(width)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every image and label, 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for split in (self.train, self.valid, self.test):
            for tensor in (split.images, split.labels):
                digest.update(repr(tuple(tensor.shape)).encode())
                digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
        return digest.hexdigest()[:16]


def digits() -> Task:
    """Return the built-in task: scikit-learn's digits, displaced and noisy.

    Each 8 × 8 image stands at a random offset on a 12 × 12 canvas under Gaussian noise with a
    deviation of a quarter of the value range. On the clean centred images nearly every cell
    reaches the same accuracy and training seeds decide its rank; so displaced, cells differ.
    600 images train, 597 validate, 600 test, stratified by class.

    References
    ----------
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    value_range = 16.0
    generator = np.random.default_rng(_SPLIT_SEED)
    offsets = generator.integers(0, 5, size=(len(images), 2))
    canvas = np.zeros((len(images), 12, 12))
    rows = offsets[:, :1] + np.arange(8)
    columns = offsets[:, 1:] + np.arange(8)
    canvas[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]] = images
    canvas += generator.normal(0.0, 0.25 * value_range, size=canvas.shape)
    train, rest = _stratified(labels, 600)
    valid, test = (rest[part] for part in _stratified(labels[rest], 597))
    return _assemble(
        "digits",
        canvas[:, None],
        labels.astype(np.int64),
        (train, valid, test),
        suggested_scale={"channels": 8, "cells": 1, "patches": 3},
        source="digits",
    )


TASKS: dict[str, Callable[[], Task]] = {"digits": digits}


def load_task(source: str) -> Task:
    """Return the task that ``source`` names.

    Parameters
    ----------
    source
        A name in ``TASKS`` or the path of an ``.npz`` file (see :func:`read_npz`).

    Raises
    ------
    InputError
        If there is no such task or the file cannot be used.
    """
    if source in TASKS:
        return TASKS[source]()
    if source.endswith(".npz"):
        return read_npz(Path(source))
    raise unknown_name("task", source, [*TASKS, "a path ending in .npz"])


def read_npz(path: Path, *, valid_fraction: float = 0.2) -> Task:
    """Read a task from an ``.npz`` file.

    Parameters
    ----------
    path
        File with ``x_train``, ``y_train``, ``x_test``, ``y_test`` and, if the validation split
        is given, ``x_valid``, ``y_valid``. Images have the shape ``(n, height, width)``,
        ``(n, height, width, channels)`` or ``(n, channels, height, width)`` with 1, 3 or 4
        channels, in any numeric type; labels are integers of any range, shape ``(n,)``.
    valid_fraction
        Share of the training images that validates where the file has no validation split;
        stratified by class, the same images on every machine.

    Raises
    ------
    InputError
        If the file is missing, damaged, lacks an array, or its arrays do not fit together.
    """
    arrays = _read_arrays(path)
    images = {
        part: _channels_first(arrays[f"x_{part}"], path, f"x_{part}") for part in _parts(arrays)
    }
    labels = {part: arrays[f"y_{part}"] for part in images}
    for part in images:
        _check_labels(path, part, images[part], labels[part])
    shapes = {part: value.shape[1:] for part, value in images.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(f"{path}: images of all splits must have one shape, found {shapes}")
    classes = np.unique(labels["train"])
    if len(classes) < 2:
        raise InputError(
            f"{path}: y_train must hold at least two classes, found only {classes[0]}; "
            "there is nothing to learn"
        )
    for part in images:
        strangers = np.setdiff1d(labels[part], classes)
        if len(strangers):
            raise InputError(f"{path}: y_{part} holds class {strangers[0]}, which y_train lacks")
    order = ["train", *(["valid"] if "valid" in images else []), "test"]
    x = np.concatenate([images[part] for part in order])
    y = np.searchsorted(classes, np.concatenate([labels[part] for part in order]))
    bounds = np.cumsum([len(images[part]) for part in order])
    parts = np.split(np.arange(len(y)), bounds[:-1])
    if "valid" not in images:
        count = round(valid_fraction * len(parts[0]))
        if count < len(classes) or len(parts[0]) - count < len(classes):
            raise InputError(
                f"{path}: expected enough training images to validate on {valid_fraction:.0%} "
                f"of them, found {len(parts[0])}; add images or arrays x_valid, y_valid"
            )
        valid, train = (parts[0][part] for part in _stratified(y[parts[0]], count))
        parts = [train, valid, parts[1]]
    return _assemble(
        path.stem, x, y.astype(np.int64), (parts[0], parts[1], parts[2]), source=str(path)
    )


def _parts(arrays: Mapping[str, Array]) -> list[str]:
    return ["train", "test", *(["valid"] if "x_valid" in arrays else [])]


def _read_arrays(path: Path) -> dict[str, Array]:
    try:
        # Opened here, because numpy leaves the file open where it finds it damaged.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such task file") from None
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: expected an .npz file of plain arrays, but {reason}") from None
    wanted = ["x_train", "y_train", "x_test", "y_test"]
    wanted += ["x_valid", "y_valid"] if {"x_valid", "y_valid"} & set(arrays) else []
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}; found {', '.join(arrays) or 'none'}")
    return arrays


def _channels_first(images: Array, path: Path, name: str) -> NDArray[np.float32]:
    if images.dtype.kind not in "uifb":
        raise InputError(f"{path}: {name} must be numeric, found {images.dtype}")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        images = np.moveaxis(images, 3, 1)
    elif images.ndim != 4 or images.shape[1] not in (1, 3, 4):
        raise InputError(
            f"{path}: {name} must have the shape (n, height, width), (n, height, width, channels) "
            f"or (n, channels, height, width) with 1, 3 or 4 channels, found {images.shape}"
        )
    result = images.astype(np.float32)
    if not np.isfinite(result).all():
        raise InputError(f"{path}: {name} holds values that are not finite")
    return result


def _check_labels(path: Path, part: str, images: Array, labels: Array) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "ui" or len(labels) != len(images):
        raise InputError(
            f"{path}: y_{part} must be {len(images)} integers, one an image of x_{part}, "
            f"found shape {labels.shape} of {labels.dtype}"
        )
    if images.size == 0:
        raise InputError(f"{path}: x_{part} holds no images, its shape is {images.shape}")


def _stratified(labels: Array, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split indices into ``count`` of them and the rest, every class in proportion."""
    from sklearn.model_selection import train_test_split

    index = np.arange(len(labels))
    counts = np.unique(labels, return_counts=True)[1]
    stratify = labels if counts.min() > 1 else None
    first, rest = train_test_split(
        index, train_size=count, stratify=stratify, random_state=_SPLIT_SEED
    )
    return np.sort(first), np.sort(rest)


def _assemble(
    name: str,
    images: NDArray[np.floating],
    labels: NDArray[np.int64],
    parts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    *,
    source: str,
    suggested_scale: Mapping[str, int] | None = None,
) -> Task:
    """Standardise the images by the training part and cut them into the three splits."""
    train = images[parts[0]]
    mean = train.mean(axis=(0, 2, 3), dtype=np.float64)
    std = train.std(axis=(0, 2, 3), dtype=np.float64)
    std = np.where(std > 0, std, 1.0)
    standard = ((images - mean[:, None, None]) / std[:, None, None]).astype(np.float32)
    train_split, valid_split, test_split = (
        Split(torch.from_numpy(standard[part]), torch.from_numpy(labels[part])) for part in parts
    )
    return Task(
        name=name,
        train=train_split,
        valid=valid_split,
        test=test_split,
        num_classes=int(labels.max()) + 1,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        suggested_scale=dict(suggested_scale or {}),
        source=source,
    )
