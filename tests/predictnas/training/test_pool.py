"""Jobs in worker processes: every answer comes, errors and deaths are told."""

import os
import signal
from functools import partial

import pytest
import torch

from predictnas.training.pool import in_workers
from predictnas.training.processes import WorkerError


def _work(power: int, job: int) -> tuple[int, int, int]:
    if job == 7:
        raise ValueError("seven")
    if job == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return job**power, os.getpid(), torch.get_num_threads()


def test_every_job_is_answered_once_by_one_of_the_processes() -> None:
    jobs = [3, 1, 2, 3, 5]
    answers = dict(in_workers(partial(_work, 2), jobs, 2))
    assert [answers[number][0] for number in range(5)] == [9, 1, 4, 9, 25]
    processes = {process for _, process, _ in answers.values()}
    assert len(processes) <= 2
    assert os.getpid() not in processes
    assert {threads for _, _, threads in answers.values()} == {1}


def test_threads_are_those_asked_for() -> None:
    assert next(in_workers(partial(_work, 1), [1], 1, threads=2))[1][2] == 2


def test_what_a_job_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="seven"):
        list(in_workers(partial(_work, 1), [7], 1))


def test_death_names_the_job_and_what_to_do() -> None:
    answers = in_workers(partial(_work, 1), [9], 2, name=lambda job: f"number {job}")
    with pytest.raises(WorkerError, match=r"killed.* at number 9, .*--workers 1$"):
        list(answers)


class _TwoPartError(Exception):
    """Pickled, but not to be read again."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def _unsendable(job: str) -> object:
    if job == "answer":
        return lambda: None
    if job == "unreadable":
        raise _TwoPartError("one", "two")
    raise ValueError("eight", lambda: None)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("answer", r"^the answer of a job, of type function, cannot be sent .*: \w+: .*lambda"),
        ("error", r"^a job in a worker process failed with ValueError: \('eight', <function"),
        ("unreadable", r"^a job in a worker process failed with _TwoPartError: one: two$"),
    ],
)
def test_what_cannot_be_sent_is_told(
    job: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WorkerError, match=message):
        list(in_workers(_unsendable, [job], 1))
    assert "Traceback" not in capfd.readouterr().err


def test_no_jobs_no_answers() -> None:
    assert list(in_workers(partial(_work, 1), [], 2)) == []


def test_no_process_outlives_the_iterator() -> None:
    answers = in_workers(partial(_work, 1), [1, 2, 3, 4], 2)
    _, (_, process, _) = next(answers)
    answers.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
