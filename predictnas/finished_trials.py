"""Adding finished trials to a study, many at a time."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

__all__ = ["add_finished_trials"]

_AT_ONCE = 200


def add_finished_trials(
    study: optuna.Study, trials: Sequence[FrozenTrial], on_added: Callable[[], None]
) -> None:
    """Add finished trials to a study as ``study.add_trial`` does, many times faster.

    Optuna asks a database for each of the thirty values of a trial whether it is there. Here a
    few hundred trials are one transaction and a handful of insertions. Storages that are not
    databases get one trial after the other.

    Parameters
    ----------
    study
        Opened for writing.
    trials
        Of :func:`optuna.trial.create_trial`, which has checked them.
    on_added
        Called for each of them once it is stored.
    """
    storage = getattr(study._storage, "_backend", study._storage)
    if not isinstance(storage, RDBStorage):
        for trial in trials:
            study.add_trial(trial)
            on_added()
        return
    for start in range(0, len(trials), _AT_ONCE):
        part = trials[start : start + _AT_ONCE]
        _insert(storage, study._study_id, part)
        for _ in part:
            on_added()


def _insert(storage: RDBStorage, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    with storage.scoped_session() as session, session.begin():
        # Locked, so that one process at a time gives out numbers.
        models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
        held = session.query(models.TrialModel).filter_by(study_id=study_id).count()
        rows = [
            models.TrialModel(
                study_id=study_id,
                number=number,
                state=trial.state,
                datetime_start=trial.datetime_start,
                datetime_complete=trial.datetime_complete,
            )
            for number, trial in enumerate(trials, held)
        ]
        session.add_all(rows)
        session.flush()
        for model, rows_of in _PARTS.items():
            values = [
                {"trial_id": row.trial_id, **part}
                for row, trial in zip(rows, trials, strict=True)
                for part in rows_of(trial)
            ]
            if values:
                session.execute(sqlalchemy.insert(model), values)


def _values(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for objective, value in enumerate(trial.values or []):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield {"objective": objective, "value": stored, "value_type": kind}


def _params(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for name, choice in trial.params.items():
        distribution = trial.distributions[name]
        yield {
            "param_name": name,
            "param_value": distribution.to_internal_repr(choice),
            "distribution_json": distribution_to_json(distribution),
        }


def _attributes(attributes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in attributes.items():
        yield {"key": key, "value_json": json.dumps(value)}


def _steps(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    model = models.TrialIntermediateValueModel
    for step, value in trial.intermediate_values.items():
        stored, kind = model.intermediate_value_to_stored_repr(value)
        yield {"step": step, "intermediate_value": stored, "intermediate_value_type": kind}


_PARTS: dict[type, Callable[[FrozenTrial], Iterator[dict[str, Any]]]] = {
    models.TrialValueModel: _values,
    models.TrialParamModel: _params,
    models.TrialUserAttributeModel: lambda trial: _attributes(trial.user_attrs),
    models.TrialSystemAttributeModel: lambda trial: _attributes(trial.system_attrs),
    models.TrialIntermediateValueModel: _steps,
}
