"""Taking up labels of a table or of another study in a study, which goes on with them."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from predictnas.console import progress
from predictnas.errors import InputError
from predictnas.importing import import_study
from predictnas.labels import NOTED_CURVES
from predictnas.sources import table_path
from predictnas.spaces import Space
from predictnas.tables import read_metadata, read_table
from predictnas.tables.importers import ImportOptions

__all__ = ["restore_labels"]

# What a training measured beside the label and its curves, by the names of columns and attributes.
MEASURED = ("test_accuracy", "test_loss", "seconds", "cpu_seconds")
NEEDED = ("arch", "seed", "valid_accuracy", "test_accuracy", "seconds")


def restore_labels(study: optuna.Study, space: Space, source: str) -> int:
    """Add labels that a study does not hold yet as finished trials of it.

    The inverse of ``predictnas import study``. Scores of proxies come back with the first seed of
    an architecture; what was predicted of it before the training does not.

    Parameters
    ----------
    study
        Opened for writing.
    space
        The space of its architectures.
    source
        A table that ``import study`` wrote, as a file or the name of a table of the package, or
        another study as ``sqlite:///labels.db#name``.

    Returns
    -------
    int
        How many labels were added; those of architectures and seeds that the study has are left
        as they are.

    Raises
    ------
    InputError
        If the source cannot be read, is a table that was not made from a study, or holds labels
        of another space, task or recipe.
    """
    table, metadata = _read(source)
    _check_meaning(metadata, study, source)
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise InputError(
            f"{source}: expected the columns {', '.join(NEEDED)}, found no "
            f"{', '.join(missing)}; import the study again"
        )
    # Here, because it loads what databases need, and few commands take up labels.
    from predictnas.finished_trials import add_finished_trials

    _check_values(table, source)
    known = {_identity(trial) for trial in study.get_trials(deepcopy=False)}
    labels: dict[tuple[Any, Any], FrozenTrial] = {}
    for row, trial in enumerate(_trials(table, metadata, space, source), start=1):
        twin = labels.setdefault(_identity(trial), trial)
        if twin.value != trial.value:
            raise InputError(
                f"{source}, row {row}: valid_accuracy is {trial.value:g}, in an earlier row of the "
                f"same architecture and seed {twin.value:g}; expected one label of each"
            )
    new = [trial for identity, trial in labels.items() if identity not in known]
    with progress("taking up labels", len(new)) as advance:
        add_finished_trials(study, new, advance)
    return len(new)


def _read(source: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    if "://" in source:
        (imported,) = import_study(source, ImportOptions())
        return imported.frame, {**imported.metadata, "format": "study"}
    path = table_path(source)
    return read_table(path), read_metadata(path)


def _check_meaning(metadata: dict[str, Any], study: optuna.Study, source: str) -> None:
    if metadata.get("format") != "study" or "fingerprint" not in metadata:
        raise InputError(
            f"{source}: expected a table that `predictnas import study` wrote, found one without "
            "the recipe of its trainings; labels of others cannot be gone on with"
        )
    ours = study.user_attrs
    if metadata["fingerprint"] == ours["fingerprint"]:
        return
    names = ("space", "task", "task_fingerprint", "recipe")
    differing = [
        f"{name} {metadata.get(name)!r} where this command has {ours.get(name)!r}"
        for name in names
        if metadata.get(name) != ours.get(name)
    ]
    raise InputError(f"{source}: holds other labels: {'; '.join(differing)}; give its own settings")


def _check_values(table: pd.DataFrame, source: str) -> None:
    """Refuse a table of which a row lacks what a label is made of."""
    for name in NEEDED[1:]:
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        good = np.isfinite(values) & ((values == np.floor(values)) | (name != "seed"))
        if not good.all():
            row = int(np.argmin(good))
            kind = "a whole number" if name == "seed" else "a number"
            raise InputError(
                f"{source}, row {row + 1}: expected {kind} as {name}, found "
                f"{table[name].iloc[row]!r}; leave the row out, or import the study again"
            )


def _trials(
    table: pd.DataFrame, metadata: dict[str, Any], space: Space, source: str
) -> Iterator[FrozenTrial]:
    try:
        archs = space.parse_all(table["arch"])
    except InputError as error:
        raise InputError(f"{source}, {error}") from None
    distributions = space.distributions()
    provenance = {
        name: metadata.get(name)
        for name in ("fingerprint", "task_fingerprint", "splits", "device", "dtype", "versions")
    }
    proxies = [name for name in table.columns if name.startswith("proxy_")]
    scored: set[str] = set()
    for arch, row in zip(archs, table.to_dict("records"), strict=True):
        choices = tuple(int(index) for index in arch)
        key, seed = space.key(choices), int(row["seed"])
        attrs: dict[str, Any] = {
            "arch": row["arch"],
            "key": key,
            "seed": seed,
            "provenance": {"seed": seed, **provenance},
            **{name: float(row[name]) for name in MEASURED if _is_known(row.get(name))},
        }
        if isinstance(row.get("origin"), str):
            attrs["origin"] = row["origin"]
        if proxies and key not in scored:
            scored.add(key)
            attrs["proxies"] = {
                name.removeprefix("proxy_"): float(row[name]) if _is_known(row[name]) else None
                for name in proxies
            }
        curves = {name: _curve(row.get(f"curve_{name}")) for name in NOTED_CURVES}
        attrs.update({name: curve for name, curve in curves.items() if curve})
        epochs = _curve(row.get("curve_valid_accuracy"))
        label = float(row["valid_accuracy"])
        if epochs:
            epochs[-1] = label  # curves are kept in single precision, labels are not
        yield optuna.trial.create_trial(
            state=TrialState.COMPLETE,
            value=label,
            params=space.params(choices),
            distributions=distributions,
            user_attrs=attrs,
            intermediate_values=dict(enumerate(epochs, start=1)),
        )


def _identity(trial: FrozenTrial) -> tuple[Any, Any]:
    attrs = trial.user_attrs
    return attrs.get("key"), attrs.get("seed", attrs.get("provenance", {}).get("seed"))


def _is_known(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _curve(values: Any) -> list[float]:
    """Return a curve, empty where a row has none, which tables read back as None or NaN."""
    if values is None or (isinstance(values, float) and math.isnan(values)):
        return []
    curve: list[float] = np.asarray(values, dtype=np.float64).tolist()
    return curve
