import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from predictnas.errors import CandidateError, InputError
from predictnas.labelling import run_trials
from predictnas.labels import (
    enqueue_architectures,
    labels_frame,
    load_study,
    num_finished,
    open_study,
)
from predictnas.spaces import Space
from predictnas.storages import StudyAddress
from predictnas.training import Recipe, Task, TrainingObjective, load_task

TRIVIAL = (0, 0, 0, 0, 0, 1)


@pytest.fixture
def address(tmp_path: Path) -> StudyAddress:
    return StudyAddress.parse(f"sqlite:///{tmp_path}/labels.db")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def opened(
    address: StudyAddress, space: Space, tiny_task: Task, tiny_recipe: Recipe
) -> Iterator[optuna.Study]:
    with open_study(address, space, tiny_task, tiny_recipe) as study:
        yield study


class TestAddress:
    def test_reads_storage_and_name(self) -> None:
        address = StudyAddress.parse("sqlite:///a/b.db#my study")
        assert (address.storage, address.name) == ("sqlite:///a/b.db", "my study")
        assert address.file == Path("a/b.db")
        assert str(address) == "sqlite:///a/b.db#my study"

    def test_servers_have_no_file(self) -> None:
        assert StudyAddress.parse("postgresql://host/db").file is None

    def test_refuses_what_is_no_url(self) -> None:
        with pytest.raises(InputError, match="expected the URL of a study .* found 'labels.db'"):
            StudyAddress.parse("labels.db")


class TestLabelling:
    def test_a_label_carries_curve_and_provenance(
        self, opened: optuna.Study, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        enqueue_architectures(opened, space, [(3, 1, 2, 4, 1, 0)], origin="given")
        objective = TrainingObjective(space, tiny_task, tiny_recipe, seed=3, device="cpu")
        assert run_trials(opened, objective, 1) == 1
        (trial,) = opened.trials
        assert trial.state == TrialState.COMPLETE
        assert space.parse(trial.user_attrs["arch"]) == (3, 1, 2, 4, 1, 0)
        assert list(trial.intermediate_values) == [1, 2]
        assert trial.value == trial.intermediate_values[2]
        assert trial.user_attrs["origin"] == "given"
        provenance = trial.user_attrs["provenance"]
        assert provenance["seed"] == 3
        assert provenance["splits"] == {"train": 96, "valid": 24, "test": 40}
        assert provenance["dtype"] == "float32"
        row = labels_frame(opened).iloc[0]
        assert row["valid_accuracy"] == trial.value
        assert row["test_accuracy"] == trial.user_attrs["test_accuracy"]
        assert row["seconds"] > 0

    def test_an_isomorphic_architecture_is_not_trained_again(
        self, opened: optuna.Study, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        one, twin = (1, 3, 0, 0, 0, 1), (1, 0, 3, 0, 0, 1)
        assert space.key(one) == space.key(twin)
        for arch in (one, twin):
            opened.enqueue_trial(space.params(arch))
        epochs: list[int] = []
        objective = TrainingObjective(
            space,
            tiny_task,
            tiny_recipe,
            device="cpu",
            on_epoch=lambda t, _: epochs.append(t.number),
        )
        run_trials(opened, objective, 2)
        assert epochs == [0, 0]
        first, second = opened.trials
        assert second.user_attrs["copied_from"] == 0
        assert second.value == first.value
        assert second.intermediate_values == first.intermediate_values
        assert len(labels_frame(opened)) == 1

    def test_failures_have_a_reason_and_count(
        self, opened: optuna.Study, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        enqueue_architectures(opened, space, [TRIVIAL, (3,) * 6], origin="given")
        objective = TrainingObjective(space, tiny_task, tiny_recipe, device="cpu", time_limit=0.0)
        assert run_trials(opened, objective, 2) == 2
        assert [trial.state for trial in opened.trials] == [TrialState.FAIL] * 2
        assert "timed out" in opened.trials[0].user_attrs["failure"]
        assert num_finished(opened) == 2
        assert run_trials(opened, objective, 2) == 0

    def test_out_of_memory_while_building_is_a_failed_trial(
        self,
        opened: optuna.Study,
        space: Space,
        tiny_task: Task,
        tiny_recipe: Recipe,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def build(*_: object, **__: object) -> None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

        monkeypatch.setattr(type(space), "build", build)
        enqueue_architectures(opened, space, [TRIVIAL], origin="given")
        run_trials(opened, TrainingObjective(space, tiny_task, tiny_recipe, device="cpu"), 1)
        assert opened.trials[0].user_attrs["failure"] == "out of memory on cpu"

    def test_pruners_stop_trials(
        self, opened: optuna.Study, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        opened.pruner = optuna.pruners.ThresholdPruner(lower=101.0)
        enqueue_architectures(opened, space, [TRIVIAL], origin="given")
        run_trials(opened, TrainingObjective(space, tiny_task, tiny_recipe, device="cpu"), 1)
        assert opened.trials[0].state == TrialState.PRUNED
        assert list(opened.trials[0].intermediate_values) == [1]

    def test_enqueueing_skips_known_architectures(self, opened: optuna.Study, space: Space) -> None:
        archs = [(3,) * 6, (3,) * 6, (1, 3, 0, 0, 0, 1), (1, 0, 3, 0, 0, 1)]
        assert enqueue_architectures(opened, space, archs, origin="random") == 2
        assert enqueue_architectures(opened, space, archs, origin="random") == 0
        assert len(opened.trials) == 2


class TestMeaning:
    def test_another_recipe_is_refused_by_name(
        self, tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        address = StudyAddress.parse(f"sqlite:///{tmp_path}/labels.db#mine")
        with open_study(address, space, tiny_task, tiny_recipe):
            pass
        other = Recipe.from_dict({**tiny_recipe.to_dict(), "epochs": 7})
        message = "study 'mine' holds other labels: epochs 2 where this command has 7"
        with (
            pytest.raises(InputError, match=message),
            open_study(address, space, tiny_task, other),
        ):
            pass

    def test_another_task_is_refused(
        self, tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        address = StudyAddress.parse(f"sqlite:///{tmp_path}/labels.db#mine")
        with open_study(address, space, tiny_task, tiny_recipe):
            pass
        with (
            pytest.raises(InputError, match="task 'tiny' where this command has 'digits'"),
            open_study(address, space, load_task("digits"), tiny_recipe),
        ):
            pass

    def test_unnamed_studies_of_two_recipes_stand_side_by_side(
        self, address: StudyAddress, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        other = Recipe.from_dict({**tiny_recipe.to_dict(), "epochs": 7})
        for recipe in (tiny_recipe, other):
            with open_study(address, space, tiny_task, recipe) as study:
                assert study.study_name.startswith("nasbench201-tiny-")
        with pytest.raises(InputError, match="name the study, as STORAGE#NAME; it holds: nasbench"):
            load_study(address)

    def test_a_study_of_somebody_else_is_refused(
        self, tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        url = f"sqlite:///{tmp_path}/labels.db"
        study = optuna.create_study(storage=url, study_name="theirs")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        with (
            pytest.raises(InputError, match="'theirs' was not made by PredictNAS"),
            open_study(StudyAddress(url, "theirs"), space, tiny_task, tiny_recipe),
        ):
            pass
        with pytest.raises(InputError, match="'theirs' was not made by PredictNAS"):
            load_study(StudyAddress(url))


class TestStorages:
    def test_missing_file(self, address: StudyAddress) -> None:
        with pytest.raises(InputError, match=r"labels\.db: no such study file"):
            load_study(address)
        assert address.file is not None
        assert not address.file.exists()

    def test_truncated_file_is_refused_and_left_as_it_is(
        self, address: StudyAddress, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        with open_study(address, space, tiny_task, tiny_recipe):
            pass
        assert address.file is not None
        damaged = address.file.read_bytes()[:20_000]
        address.file.write_bytes(damaged)
        for open_it in (
            lambda: load_study(address),
            lambda: open_study(address, space, tiny_task, tiny_recipe).__enter__(),
        ):
            with pytest.raises(InputError, match="the SQLite file is damaged"):
                open_it()
        assert address.file.read_bytes() == damaged

    @pytest.mark.parametrize(("mode", "suffix"), [("DELETE", "journal"), ("WAL", "wal")])
    def test_what_a_killed_writer_left_half_written_is_rolled_back(
        self,
        address: StudyAddress,
        space: Space,
        tiny_task: Task,
        tiny_recipe: Recipe,
        mode: str,
        suffix: str,
    ) -> None:
        """A hot journal is no damage: SQLite undoes the transaction on the next opening."""
        with open_study(address, space, tiny_task, tiny_recipe) as study:
            name = study.study_name
        script = (
            "import os, signal, sqlite3, sys\n"
            "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "c.execute(f'PRAGMA journal_mode = {sys.argv[2]}')\n"
            "c.execute('PRAGMA cache_size = 5')\n"
            "c.execute('BEGIN')\n"
            "c.execute('CREATE TABLE junk (x)')\n"
            "c.executemany('INSERT INTO junk VALUES (?)', [('y' * 500,)] * 5000)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        assert address.file is not None
        subprocess.run([sys.executable, "-c", script, str(address.file), mode], check=False)
        assert address.file.with_name(f"{address.file.name}-{suffix}").exists()
        assert load_study(address).study_name == name
        with open_study(address, space, tiny_task, tiny_recipe) as study:
            assert study.study_name == name

    def test_not_a_database(
        self, address: StudyAddress, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        assert address.file is not None
        address.file.write_text("arch,valid_accuracy\n" * 100)
        with (
            pytest.raises(InputError, match="file is not a database"),
            open_study(address, space, tiny_task, tiny_recipe),
        ):
            pass

    def test_directory_that_cannot_be_written(
        self, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        address = StudyAddress.parse("sqlite:////proc/nowhere/labels.db")
        with (
            pytest.raises(InputError, match="cannot be written"),
            open_study(address, space, tiny_task, tiny_recipe),
        ):
            pass

    def test_one_writer_at_a_time(
        self,
        opened: optuna.Study,
        address: StudyAddress,
        space: Space,
        tiny_task: Task,
        tiny_recipe: Recipe,
    ) -> None:
        with (
            pytest.raises(InputError, match="another process is writing to this study"),
            open_study(address, space, tiny_task, tiny_recipe),
        ):
            pass
        assert load_study(address).study_name == opened.study_name

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("oracle://host/db", "storage cannot be used|not a storage|driver is missing"),
            ("postgresql://host/db", "driver is missing"),
            ("grpc://host", "expected grpc://HOST:PORT"),
        ],
    )
    def test_unusable_urls(self, url: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            load_study(StudyAddress.parse(url))

    def test_journal_file(
        self, tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        address = StudyAddress.parse(f"journal:///{tmp_path}/labels.log")
        for total in (1, 2):
            with open_study(address, space, tiny_task, tiny_recipe) as study:
                enqueue_architectures(study, space, [TRIVIAL, (0, 0, 0, 2, 0, 0)], origin="given")
                run_trials(
                    study, TrainingObjective(space, tiny_task, tiny_recipe, device="cpu"), total
                )
        assert len(labels_frame(load_study(address))) == 2

    def test_a_journal_that_was_cut_off_loses_its_last_record_alone(
        self, tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        file = tmp_path / "labels.log"
        address = StudyAddress.parse(f"journal:///{file}")
        objective = TrainingObjective(space, tiny_task, tiny_recipe, device="cpu")
        for arch in (TRIVIAL, (0, 0, 0, 2, 0, 0)):
            with open_study(address, space, tiny_task, tiny_recipe) as study:
                enqueue_architectures(study, space, [arch], origin="given")
                run_trials(study, objective, 1 + (arch != TRIVIAL))
            if arch == TRIVIAL:
                file.write_bytes(file.read_bytes() + b'{"op_code":4,"study')
        labels = labels_frame(load_study(address))
        assert list(labels["arch"]) == [space.format(TRIVIAL), space.format((0, 0, 0, 2, 0, 0))]

    def test_what_is_no_journal_is_left_as_it_is(
        self, tmp_path: Path, space: Space, tiny_task: Task, tiny_recipe: Recipe
    ) -> None:
        file = tmp_path / "notes.txt"
        file.write_text("one\ntwo")
        address = StudyAddress.parse(f"journal:///{file}")
        with pytest.raises(InputError), open_study(address, space, tiny_task, tiny_recipe):
            pass
        assert file.read_text() == "one\ntwo"


WORKER = """
import sys
from pathlib import Path
import numpy as np
import torch
from predictnas.labels import *
from predictnas.labelling import run_trials
from predictnas.storages import StudyAddress
from predictnas.spaces import get_space
from predictnas.training import *

torch.set_num_threads(1)
space, task = get_space("nasbench201"), read_npz(Path(sys.argv[2]))
recipe = default_recipe(space, task, epochs=2, batch_size=32, scale={"channels": 4, "cells": 1})
with open_study(StudyAddress.parse(sys.argv[1]), space, task, recipe) as study:
    rows = space.sample(6, np.random.default_rng(0), distinct=True)
    enqueue_architectures(study, space, [tuple(map(int, row)) for row in rows], origin="random")
    print("opened", flush=True)
    objective = TrainingObjective(
        space, task, recipe, device="cpu", on_epoch=lambda *_: print("epoch", flush=True)
    )
    run_trials(study, objective, 6)
"""


class TestKilled:
    """SIGKILL at any moment: nothing lost, nothing trained twice, the interrupted trial redone."""

    def run(self, address: StudyAddress, npz: Path, kill_after: int | None) -> int:
        """Run the worker and kill it after so many lines of output; return its exit code."""
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, str(address), str(npz)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for count, _ in enumerate(process.stdout, 1):
                if kill_after is not None and count == kill_after:
                    os.kill(process.pid, signal.SIGKILL)
            return process.wait()

    def test_goes_on(self, address: StudyAddress, write_npz: Any, space: Space) -> None:
        npz = write_npz()
        finished: dict[int, float | None] = {}
        # Killed on opening, after a first epoch and after the second trial's first.
        for lines in (1, 2, 4):
            assert self.run(address, npz, lines) == -signal.SIGKILL
            complete = self.labels(address)
            assert {number: complete[number].value for number in finished} == finished
            finished = {number: trial.value for number, trial in complete.items()}
        assert self.run(address, npz, None) == 0
        complete = self.labels(address)
        assert {number: complete[number].value for number in finished} == finished
        archs = Counter(trial.user_attrs["arch"] for trial in complete.values())
        wanted = space.sample(6, np.random.default_rng(0), distinct=True)
        assert archs == Counter(space.format_all(wanted))
        assert not any("copied_from" in trial.user_attrs for trial in complete.values())
        states = Counter(trial.state for trial in load_study(address).trials)
        assert set(states) == {TrialState.COMPLETE, TrialState.FAIL}
        retried = [
            t.user_attrs["retry_of"] for t in complete.values() if "retry_of" in t.user_attrs
        ]
        assert retried

    def labels(self, address: StudyAddress) -> dict[int, FrozenTrial]:
        trials = load_study(address).get_trials(states=(TrialState.COMPLETE,))
        return {trial.number: trial for trial in trials}

    def test_an_exception_of_the_objective_is_redone_too(
        self,
        address: StudyAddress,
        space: Space,
        tiny_task: Task,
        tiny_recipe: Recipe,
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with (
            contextlib.suppress(KeyboardInterrupt),
            open_study(address, space, tiny_task, tiny_recipe) as study,
        ):
            enqueue_architectures(study, space, [TRIVIAL], origin="given")
            objective = TrainingObjective(
                space, tiny_task, tiny_recipe, device="cpu", on_epoch=interrupt
            )
            run_trials(study, objective, 1)
        for _ in range(2):  # opening twice queues it once
            with open_study(address, space, tiny_task, tiny_recipe) as study:
                waiting = study.get_trials(states=(TrialState.WAITING,))
                assert [trial.user_attrs["retry_of"] for trial in waiting] == [0]
        with open_study(address, space, tiny_task, tiny_recipe) as study:
            assert num_finished(study) == 0
            run_trials(study, TrainingObjective(space, tiny_task, tiny_recipe, device="cpu"), 1)
            assert study.trials[1].state == TrialState.COMPLETE
            assert study.trials[1].user_attrs["origin"] == "given"


def test_candidate_errors_are_the_only_ones_caught(
    opened: optuna.Study, space: Space, tiny_task: Task, tiny_recipe: Recipe
) -> None:
    class Broken(TrainingObjective):
        def __call__(self, trial: optuna.Trial) -> float:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        run_trials(opened, Broken(space, tiny_task, tiny_recipe, device="cpu"), 1)
    assert issubclass(CandidateError, RuntimeError)


def test_reading_while_another_process_writes_takes_no_lock(
    opened: optuna.Study, address: StudyAddress
) -> None:
    start = time.monotonic()
    assert load_study(address).study_name == opened.study_name
    assert time.monotonic() - start < 30
