"""Threads: computing on one, and several computations side by side."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import scipy.linalg  # noqa: F401 - loads SciPy's BLAS
import torch
from threadpoolctl import ThreadpoolController

__all__ = ["in_threads", "shared_by_threads", "single_thread"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def shared_by_threads(
    setting: Callable[[], AbstractContextManager[None]],
) -> Callable[[], AbstractContextManager[None]]:
    """Make a context that changes global state safe to be entered by several threads at a time.

    The first to enter changes the state and the last to leave puts it back: were each to put back
    what it had found, one that entered later would leave the change behind.

    Parameters
    ----------
    setting
        Makes the context, of which all threads want the same.
    """
    lock = threading.Lock()
    inside = 0
    entered = ExitStack()

    @contextmanager
    def shared() -> Iterator[None]:
        nonlocal inside
        with lock:
            if inside == 0:
                entered.enter_context(setting())
            inside += 1
        try:
            yield
        finally:
            with lock:
                inside -= 1
                if inside == 0:
                    entered.close()

    return shared


SWITCH_SECONDS = 2e-4
# The libraries that NumPy and SciPy compute products of matrices with, looked up once.
BLAS = ThreadpoolController().select(user_api="blas")


@shared_by_threads
@contextmanager
def single_thread() -> Iterator[None]:
    """Compute on one thread: small matrices gain nothing from more, and rounding stays the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with BLAS.limit(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)


@shared_by_threads
@contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads take turns in Python more often.

    Those of many short computations would wait for the usual 5 ms after each.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Apply a function to items side by side, in as many threads as PyTorch may use.

    Every computation has one thread of its own, so that results do not depend on how many run.

    Parameters
    ----------
    function
        What it computes may not depend on what others do meanwhile.
    items
        Begun in this order: those that take longest should come first.

    Returns
    -------
    list
        The results, in the order of the items.
    """
    wanted = list(items)
    threads = min(torch.get_num_threads(), len(wanted))
    with single_thread():
        if threads < 2:
            return [function(item) for item in wanted]
        with _short_turns(), ThreadPoolExecutor(max_workers=threads) as pool:
            return list(pool.map(function, wanted))
