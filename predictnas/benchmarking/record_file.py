"""The file of a benchmark: its conditions and the records so far."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from predictnas.benchmarking.predictor_benchmark import Job, PredictorBenchmark
from predictnas.benchmarking.summary import summarise
from predictnas.console import write_json
from predictnas.errors import InputError
from predictnas.evaluation.json_values import json_value

__all__ = ["RecordFile"]


class RecordFile:
    """Keeps the records of a benchmark, in a JSON file that is never half written.

    A file that holds records of the same conditions is gone on with: predictors, sizes and
    repeats may differ, all else may not.

    Parameters
    ----------
    benchmark
        What the records belong to.
    path
        The file; None keeps records in memory only.
    ceiling
        The noise ceiling of the labels, for readers of the file.

    Raises
    ------
    InputError
        If the file holds something else or records of other conditions.
    """

    def __init__(
        self, benchmark: PredictorBenchmark, path: Path | None, ceiling: Any = None
    ) -> None:
        self.benchmark = benchmark
        self.path = path
        self.ceiling = ceiling
        self.parameters: dict[str, Any] = {}
        self.records: dict[Job, dict[str, Any]] = {}
        if path is not None and path.exists():
            self._read(path)
        self.parameters |= benchmark.parameters()

    def missing(self) -> list[Job]:
        """Return the jobs of the benchmark that have no record yet."""
        return [job for job in self.benchmark.jobs() if job not in self.records]

    def wanted(self) -> list[dict[str, Any]]:
        """Return the records of the benchmark's jobs, without others that the file holds."""
        return [self.records[job] for job in self.benchmark.jobs() if job in self.records]

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Keep records, on disk when this returns."""
        for record in records:
            self.records[_job(record)] = dict(record)
        ordered = [self.records[job] for job in sorted(self.records, key=lambda j: j[::-1])]
        content = {
            "benchmark": "predictors",
            "conditions": self.benchmark.conditions,
            "predictors": self.parameters,
            "noise_ceiling": self.ceiling,
            "records": ordered,
            "summary": [each.to_dict() for each in summarise(ordered)],
        }
        write_json(self.path, content)

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["benchmark"] != "predictors":
                raise KeyError("benchmark")
            conditions, self.parameters = dict(content["conditions"]), dict(content["predictors"])
            self.records = {_job(record): record for record in content["records"]}
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{path}: is there already and holds no benchmark of predictors; choose another "
                "--json, or delete it"
            ) from None
        ours = json_value(self.benchmark.conditions)
        differences = [
            f"{name} {conditions.get(name)} where this command has {ours.get(name)}"
            for name in dict.fromkeys([*ours, *conditions])
            if ours.get(name) != conditions.get(name)
        ]
        known = self.parameters
        differences += [
            f"other parameters of {name}"
            for name, values in self.benchmark.parameters().items()
            if known.get(name, values) != values
        ]
        if differences:
            raise InputError(
                f"{path}: holds records of another benchmark: {', '.join(differences)}; choose "
                "another --json, or delete it"
            )


def _job(record: Mapping[str, Any]) -> Job:
    return Job(str(record["predictor"]), int(record["size"]), int(record["repeat"]))
