"""Training candidates in worker processes."""

import contextlib
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

import torch

from predictnas.errors import CandidateError
from predictnas.spaces import Arch, Space
from predictnas.training.objective import Scorer, score_architecture, train_architecture
from predictnas.training.processes import WorkerError, WorkerProcess, prepare_worker
from predictnas.training.recipe import Recipe
from predictnas.training.tasks import Task
from predictnas.training.trainer import Epoch, Training

__all__ = ["Answer", "TrainingWorkers"]

Answer: TypeAlias = Mapping[str, float | None] | Epoch | Training | CandidateError
"""What comes back of a job: proxy scores if asked for, epochs, and what it ended with."""


@dataclass(frozen=True)
class _Job:
    number: int
    arch: Arch
    seed: int
    scored: bool


class _Ready:
    """The first thing that a worker sends."""


class _Stop:
    """Told to a worker whose training is to end, and what it answers."""


@dataclass(eq=False)
class _Worker:
    process: WorkerProcess
    ready: bool = False
    job: int | None = None
    stopped: bool = False


class TrainingWorkers:
    """Processes that train candidates, each one at a time.

    The same architecture and seed give the same label here and in this process, bit by bit, if
    the CPU threads are as many. A process that dies (killed for want of memory, say) is a failure
    of the candidate that it trained; another one takes its place. Close the workers when leaving
    them, so that none goes on; they also end by themselves within an epoch of this process.

    Parameters
    ----------
    space, task, recipe, device, time_limit
        As for :func:`~predictnas.training.train_architecture`.
    scorer
        Computes the proxy scores of jobs that ask for them.
    count
        How many processes.
    threads
        CPU threads of each.
    """

    def __init__(
        self,
        space: Space,
        task: Task,
        recipe: Recipe,
        *,
        device: torch.device | str = "cpu",
        time_limit: float = math.inf,
        scorer: Scorer | None = None,
        count: int = 1,
        threads: int = 1,
    ) -> None:
        options = {
            "space": space,
            "task": task,
            "recipe": recipe,
            "device": device,
            "time_limit": time_limit,
        }
        # As plain bytes: tensors sent as such would be shared, and shared memory is scarce.
        self._payload = pickle.dumps((options, scorer, threads))
        self._workers: list[_Worker] = []
        try:
            for _ in range(count):
                self._workers.append(self._start())
        except BaseException:
            self.close()
            raise

    @property
    def idle(self) -> bool:
        """Whether a worker waits for a job."""
        return any(worker.job is None for worker in self._workers)

    def submit(self, number: int, arch: Arch, seed: int, *, scored: bool = False) -> None:
        """Hand a job to an idle worker.

        Parameters
        ----------
        number
            Names the job in what :meth:`answers` returns.
        arch, seed
            What to train.
        scored
            Whether to compute proxy scores first.
        """
        worker = next(worker for worker in self._workers if worker.job is None)
        worker.job = number
        worker.stopped = False
        with contextlib.suppress(OSError):  # its death shows when its answer is read
            worker.process.connection.send(_Job(number, arch, seed, scored))

    def stop(self, number: int) -> None:
        """End the training of a job within an epoch; nothing more is heard of it."""
        for worker in self._workers:
            if worker.job == number:
                worker.stopped = True
                with contextlib.suppress(OSError):
                    worker.process.connection.send(_Stop())

    def answers(self, timeout: float | None = None) -> list[tuple[int, Answer]]:
        """Wait for news and return it: numbers of jobs and what came back of them.

        Parameters
        ----------
        timeout
            Seconds after which to return without any, None for never.

        Raises
        ------
        WorkerError
            If a worker dies before its first job.
        Exception
            What a training raised that is not the candidate's fault.
        """
        found: list[tuple[int, Answer]] = []
        by_connection = {worker.process.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), timeout):
            assert isinstance(connection, Connection)
            worker = by_connection[connection]
            try:
                answer = connection.recv()
            except (EOFError, OSError):
                answer = self._replace(worker)
            if isinstance(answer, _Ready):
                worker.ready = True
                continue
            if isinstance(answer, Exception) and not isinstance(answer, CandidateError):
                raise answer
            number = worker.job
            ended = isinstance(answer, Training | CandidateError | _Stop)
            if ended:
                worker.job = None
            if number is not None and not worker.stopped and not isinstance(answer, _Stop):
                found.append((number, answer))
        return found

    def close(self) -> None:
        """Kill the processes."""
        WorkerProcess.end([worker.process for worker in self._workers])
        self._workers.clear()

    def _start(self) -> _Worker:
        process = WorkerProcess.start(_work)
        with contextlib.suppress(OSError):  # its death shows when its answer is read
            process.connection.send_bytes(self._payload)
        return _Worker(process)

    def _replace(self, worker: _Worker) -> CandidateError:
        """Put a new process in the place of one that died; return what its candidate failed of."""
        ended = worker.process.how_it_ended()
        if not worker.ready:
            raise WorkerError(
                f"a worker process {ended} while it started, perhaps for want of memory; run the "
                "same command again with fewer workers: --workers 1"
            )
        WorkerProcess.end([worker.process])
        fresh = self._start()
        worker.process, worker.ready = fresh.process, False
        return CandidateError(f"its worker process {ended}, perhaps for want of memory")


class _StoppedError(Exception):
    """Leaves a training that is to end."""


def _work(connection: Connection) -> None:
    """Train what comes in until the other end is closed, be it that its process was killed."""
    with contextlib.suppress(EOFError, OSError):
        options, scorer, threads = pickle.loads(connection.recv_bytes())  # noqa: S301 - our parent's
        prepare_worker(threads)
        connection.send(_Ready())
        while True:
            job = connection.recv()
            if isinstance(job, _Stop):  # the training had ended before it came
                continue
            connection.send(_answer(job, connection, options, scorer))


def _answer(
    job: _Job, connection: Connection, options: dict[str, Any], scorer: Scorer | None
) -> Training | _Stop | Exception:
    def report(epoch: Epoch) -> None:
        connection.send(epoch)
        if connection.poll():
            connection.recv()
            raise _StoppedError

    try:
        if job.scored:
            assert scorer is not None
            connection.send(score_architecture(scorer, job.arch))
        return train_architecture(arch=job.arch, seed=job.seed, on_epoch=report, **options)[1]
    except _StoppedError:
        return _Stop()
    except (EOFError, OSError):
        raise  # the other end of the pipe is gone
    except Exception as error:  # noqa: BLE001 - it is raised where the answers are awaited
        return error
