"""Experiments over a label table, repeated: how good is what, from how many labels."""

from predictnas.benchmarking.predictor_benchmark import Job, PredictorBenchmark, complete_rows
from predictnas.benchmarking.record_file import RecordFile
from predictnas.benchmarking.running import run_benchmark
from predictnas.benchmarking.summary import Summary, summarise

__all__ = [
    "Job",
    "PredictorBenchmark",
    "RecordFile",
    "Summary",
    "complete_rows",
    "run_benchmark",
    "summarise",
]
