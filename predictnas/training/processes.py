"""Worker processes: starting them, talking to them, telling how they ended."""

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import torch

from predictnas.errors import PredictNASError
from predictnas.training.memory import keep_freed_memory, large_pages

__all__ = ["WorkerError", "WorkerProcess", "prepare_worker", "usable_cores"]


class WorkerError(PredictNASError, RuntimeError):
    """A worker process has died, killed from outside as a rule."""


def usable_cores() -> int:
    """Return how many CPU cores this process may use, where the system says it."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def prepare_worker(threads: int) -> None:
    """Prepare the process that this is called in for jobs that use much memory.

    Parameters
    ----------
    threads
        CPU threads that torch is to use.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    # What the imports have made stays: looking through it for garbage again and again takes a
    # tenth of a second each time.
    gc.freeze()


@dataclass(eq=False)
class WorkerProcess:
    """A process and our end of the pipe to it."""

    process: BaseProcess
    connection: Connection

    @classmethod
    def start(cls, work: Callable[[Connection], None]) -> "WorkerProcess":
        """Start a process that runs ``work`` with its end of the pipe, deaf to Ctrl-C.

        The process that starts it hears Ctrl-C too, and ends it. It is not forked: a fork
        inherits the locks of torch's threads, and cannot use a GPU.
        """
        context = torch.multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,), daemon=True)
        with _interrupts_ignored(), large_pages():
            process.start()
        theirs.close()  # so that the pipe ends when the worker does
        return cls(process, ours)

    def how_it_ended(self) -> str:
        """Wait for a process that has closed its pipe; return what became of it, in words."""
        self.process.join()
        code = self.process.exitcode or 0
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    @staticmethod
    def end(workers: Sequence["WorkerProcess"]) -> None:
        """Kill processes and clear up after them."""
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()
            worker.process.close()
            worker.connection.close()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what signals do
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
