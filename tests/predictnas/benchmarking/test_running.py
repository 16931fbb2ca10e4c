"""Running a benchmark: its file, going on with it, and worker processes."""

import contextlib
import json
import math
import os
import signal

import numpy as np
import pytest
from scipy import stats

from predictnas.benchmarking import Job, RecordFile, run_benchmark, summarise
from predictnas.errors import InputError
from predictnas.predictors import get_predictor
from predictnas.predictors.forest import ForestPredictor
from predictnas.training.processes import WorkerError


@contextlib.contextmanager
def silent(title, total):
    yield lambda: None


def run(benchmark, path, workers=1):
    lines = []
    file = run_benchmark(benchmark, path, workers=workers, on_step=lines.append, progress=silent)
    return file, lines


def timeless(records):
    return [{k: v for k, v in r.items() if not k.startswith("seconds")} for r in records]


def test_file_holds_conditions_records_and_summary(experiment, tmp_path):
    path = tmp_path / "records.json"
    benchmark = experiment()
    file, lines = run(benchmark, path)
    assert lines == []
    content = json.loads(path.read_text())
    assert content["benchmark"] == "predictors"
    assert content["conditions"] == benchmark.conditions
    assert content["predictors"]["forest"]["trees"] == 10
    assert content["noise_ceiling"] is None
    assert [Job(r["predictor"], r["size"], r["repeat"]) for r in content["records"]] == (
        benchmark.jobs()
    )
    assert timeless(content["records"])[3] == timeless([benchmark.measure(benchmark.jobs()[3])])[0]
    taus = [r["kendall"] for r in file.wanted() if r["size"] == 20]
    interval = stats.t.interval(0.95, 1, np.mean(taus), stats.sem(taus))
    found = content["summary"][1]["measures"]["kendall"]
    assert content["summary"][1]["size"] == 20
    np.testing.assert_allclose([found["low"], found["high"]], interval)


def test_several_seeds_give_the_noise_ceiling(experiment, with_seeds, tmp_path):
    path = tmp_path / "records.json"
    run(experiment(table=with_seeds, sizes=[8], repeats=1), path)
    ceiling = json.loads(path.read_text())["noise_ceiling"]
    assert ceiling["num_seeds"] == 3
    assert 0.5 < ceiling["one_against_others"] < 1


def test_the_same_again_does_nothing_and_more_adds_to_it(experiment, tmp_path, monkeypatch):
    path = tmp_path / "records.json"
    run(experiment(), path)
    before = path.read_text()
    measured = []
    measure = type(experiment()).measure

    def watched(self, job):
        measured.append(job)
        return measure(self, job)

    monkeypatch.setattr(type(experiment()), "measure", watched)
    file, lines = run(experiment(), path)
    assert (measured, path.read_text()) == ([], before)
    assert lines == [f"{path} holds 4 of 4 records already"]
    assert len(file.wanted()) == 4
    more = {"forest": get_predictor("forest", trees=10), "ridge": get_predictor("forest", trees=5)}
    file, lines = run(experiment(predictors=more, sizes=[20], repeats=3), path)
    assert set(measured) == {Job("forest", 20, 2), *(Job("ridge", 20, n) for n in range(3))}
    assert lines == [f"{path} holds 2 of 6 records already"]
    assert len(file.wanted()) == 6
    assert len(json.loads(path.read_text())["records"]) == 8  # nothing is lost


def test_interrupted_it_keeps_what_was_done(experiment, tmp_path, monkeypatch):
    path = tmp_path / "records.json"
    measure = type(experiment()).measure

    def interrupted(self, job):
        if job.repeat == 1:
            raise KeyboardInterrupt
        return measure(self, job)

    monkeypatch.setattr(type(experiment()), "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(experiment(), path)
    monkeypatch.undo()
    assert len(json.loads(path.read_text())["records"]) == 2
    file, lines = run(experiment(), path)
    assert lines == [f"{path} holds 2 of 4 records already"]
    whole, _ = run(experiment(), None)
    assert timeless(file.wanted()) == timeless(whole.wanted())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "another benchmark: seed 0 where this command has 1; choose another --json"),
        ({"max_test": 20}, "max_test None where this command has 20"),
        ({"features": "graph"}, "features .*'graph', 'proxy_good'.* where this command has"),
        ({"design": "diverse"}, "design random where this command has diverse"),
        ({"predictors": {"forest": get_predictor("forest", trees=3)}}, "parameters of forest"),
    ],
)
def test_records_of_other_conditions_are_refused(changed, message, experiment, tmp_path):
    path = tmp_path / "records.json"
    RecordFile(experiment(), path).add([])
    with pytest.raises(InputError, match=message):
        run(experiment(**changed), path)


@pytest.mark.parametrize("content", ["{", "[]", '{"benchmark": "search"}', '{"records": []}'])
def test_other_files_are_refused_and_kept(content, experiment, tmp_path):
    path = tmp_path / "records.json"
    path.write_text(content)
    with pytest.raises(InputError, match="holds no benchmark of predictors; choose another --json"):
        run(experiment(), path)
    assert path.read_text() == content


def test_worker_processes_measure_the_same(experiment):
    one, _ = run(experiment(repeats=1), None)
    two, _ = run(experiment(repeats=1), None, workers=2)
    assert timeless(two.wanted()) == timeless(one.wanted())


class DyingForest(ForestPredictor):
    """Kills its process, or refuses, by the number of labels."""

    def _fit(self, inputs, targets):
        if len(targets) >= 20:
            os.kill(os.getpid(), signal.SIGKILL)
        raise InputError("expected other labels")


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ([20, 21], WorkerError, "killed by signal 9 at .*size=2[01].*--workers 1"),
        ([8, 9], InputError, "dying with [89] labels: expected other labels"),
    ],
)
def test_what_happens_to_a_worker_is_told_in_one_line(sizes, error, message, experiment):
    benchmark = experiment(predictors={"dying": DyingForest()}, sizes=sizes, repeats=1)
    with pytest.raises(error, match=message):
        run(benchmark, None, workers=2)


def test_one_repeat_has_no_interval(experiment):
    file, _ = run(experiment(repeats=1), None)
    (first, second) = summarise(file.wanted()[::-1])
    assert (first.size, second.size) == (8, 20)
    assert math.isnan(float(first.measures["kendall"].low))
    assert first.to_dict()["measures"]["kendall"]["low"] is None
    assert first.measures["coverage, 90 %"].mean == file.wanted()[0]["coverage"]["90 %"]
