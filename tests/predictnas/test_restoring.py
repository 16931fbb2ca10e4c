"""A study becomes a table, and the table a study again, which goes on where the first ended."""

import math
from pathlib import Path

import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.importing import import_tables
from predictnas.label_queue import LabelQueue
from predictnas.labelling import run_trials
from predictnas.labels import labels_frame, open_study
from predictnas.restoring import restore_labels
from predictnas.scoring import ProxyScorer
from predictnas.spaces import Space
from predictnas.storages import StudyAddress
from predictnas.tables import read_metadata, read_table, write_table
from predictnas.tables.importers import ImportOptions
from predictnas.training import Recipe, Task, TrainingObjective

pytestmark = pytest.mark.usefixtures("quiet_and_single")

CELLS = [(3, 1, 2, 4, 1, 0), (0, 0, 0, 0, 0, 1)]


@pytest.fixture
def objective(space: Space, tiny_task: Task, tiny_recipe: Recipe) -> TrainingObjective:
    scorer = ProxyScorer(space, tiny_task, tiny_recipe, ["params", "snip"], device="cpu")
    return TrainingObjective(space, tiny_task, tiny_recipe, device="cpu", scorer=scorer)


@pytest.fixture
def table(
    tmp_path: Path,
    space: Space,
    tiny_task: Task,
    tiny_recipe: Recipe,
    objective: TrainingObjective,
) -> Path:
    """Two cells with two seeds each, trained."""
    address = StudyAddress.parse(f"sqlite:///{tmp_path}/first.db")
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        queue = LabelQueue(study, space, [0, 1])
        queue.add(CELLS, origin="given")
        run_trials(study, objective, 4, queue=queue)
    path = tmp_path / "labels.parquet"
    import_tables("study", f"sqlite:///{tmp_path}/first.db", path, ImportOptions())
    return path


def test_what_comes_back_is_what_was_trained(
    tmp_path: Path,
    space: Space,
    tiny_task: Task,
    tiny_recipe: Recipe,
    table: Path,
    objective: TrainingObjective,
) -> None:
    address = StudyAddress.parse(f"sqlite:///{tmp_path}/second.db")
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        assert restore_labels(study, space, str(table)) == 4
        assert restore_labels(study, space, str(table)) == 0
        restored = labels_frame(study, curves=True).drop(columns="number")
        # Nothing that came back is trained again; a third seed is.
        queue = LabelQueue(study, space, [0, 1, 2])
        assert queue.add(CELLS, origin="given") == 2
        assert run_trials(study, objective, 5, queue=queue) == 1
        assert study.best_value == study.get_trials()[study.best_trial.number].value
    with open_study(
        StudyAddress.parse(f"sqlite:///{tmp_path}/first.db"), space, tiny_task, tiny_recipe
    ) as first:
        trained = labels_frame(first, curves=True).drop(columns="number")
    pd.testing.assert_frame_equal(restored, trained)
    again = tmp_path / "again.parquet"
    import_tables("study", f"sqlite:///{tmp_path}/second.db", again, ImportOptions())
    written = read_table(again)
    pd.testing.assert_frame_equal(written.iloc[:4], read_table(table))
    for name in ("splits", "device", "dtype", "versions", "fingerprint"):
        assert read_metadata(again)[name] == read_metadata(table)[name]


def test_another_study_is_taken_up_as_its_table_is(
    tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe, table: Path
) -> None:
    del table  # but not the study that it was made of
    address = StudyAddress.parse(f"sqlite:///{tmp_path}/second.db")
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        assert restore_labels(study, space, f"sqlite:///{tmp_path}/first.db") == 4
        assert (
            study.user_attrs["fingerprint"]
            == study.trials[0].user_attrs["provenance"]["fingerprint"]
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "csv"}, "expected a table that `predictnas import study` wrote"),
        ({"fingerprint": "0", "task": "faces"}, "other labels: task 'faces' where .* 'tiny"),
    ],
)
def test_labels_of_something_else_are_refused(
    tmp_path: Path,
    space: Space,
    tiny_task: Task,
    tiny_recipe: Recipe,
    table: Path,
    changes: dict[str, str],
    message: str,
) -> None:
    other = tmp_path / "other.parquet"
    write_table(read_table(table), other, metadata={**read_metadata(table), **changes})
    address = StudyAddress.parse(f"sqlite:///{tmp_path}/second.db")
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        with pytest.raises(InputError, match=message):
            restore_labels(study, space, str(other))
        assert not study.get_trials()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("valid_accuracy", math.nan, "row 2: expected a number as valid_accuracy, found .*nan"),
        ("test_accuracy", math.nan, "row 2: expected a number as test_accuracy, found .*nan"),
        ("seconds", math.inf, "row 2: expected a number as seconds, found .*inf"),
        ("seed", 0.5, "row 2: expected a whole number as seed, found .*0.5"),
        ("seed", math.nan, "row 2: expected a whole number as seed, found .*nan"),
        ("arch", None, r"row 2: valid_accuracy is 1, in an earlier row of the same arch.* seed \d"),
    ],
)
def test_rows_that_are_no_labels_are_refused_before_any_is_taken_up(
    tmp_path: Path,
    space: Space,
    tiny_task: Task,
    tiny_recipe: Recipe,
    table: Path,
    column: str,
    value: float | None,
    message: str,
) -> None:
    rows = read_table(table)
    if value is None:  # the first row again, with another label
        rows.loc[1] = rows.loc[0]
        rows.loc[1, "valid_accuracy"] = 1.0
    else:
        rows[column] = rows[column].astype(float)
        rows.loc[1, column] = value
    other = tmp_path / "other.parquet"
    write_table(rows, other, metadata=read_metadata(table))
    address = StudyAddress.parse(f"sqlite:///{tmp_path}/second.db")
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        with pytest.raises(InputError, match=message):
            restore_labels(study, space, str(other))
        assert not study.get_trials()


def test_a_table_without_seeds_is_refused(
    tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe, table: Path
) -> None:
    other = tmp_path / "other.parquet"
    write_table(read_table(table).drop(columns="seed"), other, metadata=read_metadata(table))
    address = StudyAddress.parse(f"sqlite:///{tmp_path}/second.db")
    with (
        open_study(address, space, tiny_task, tiny_recipe) as study,
        pytest.raises(InputError, match="found no seed; import the study again"),
    ):
        restore_labels(study, space, str(other))


def test_a_row_without_curves_is_a_label_without_them(
    tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe, table: Path
) -> None:
    rows = read_table(table)
    for name in [name for name in rows.columns if name.startswith("curve_")]:
        rows[name] = [None, *rows[name].tolist()[1:]]
    other = tmp_path / "other.parquet"
    write_table(rows, other, metadata=read_metadata(table))
    address = StudyAddress.parse(f"sqlite:///{tmp_path}/second.db")
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        assert restore_labels(study, space, str(other)) == 4
        without, *others = study.get_trials()
    assert without.value == rows["valid_accuracy"][0]
    assert not without.intermediate_values
    assert all(trial.intermediate_values for trial in others)
