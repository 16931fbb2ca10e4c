"""What several predictors in threads compute of the same table, computed once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from predictnas.predictors.threads import shared_by_threads

__all__ = ["once", "sharing"]

Result = TypeVar("Result")


class _Entry:
    """A result, once there is one, and what it was computed from."""

    def __init__(self, key: tuple[Any, ...]) -> None:
        self.key = key
        self.lock = threading.Lock()
        self.results: list[Any] = []


class _Known:
    """All results so far, None outside of `sharing`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: list[_Entry] | None = None

    def entry(self, key: tuple[Any, ...]) -> _Entry | None:
        """Return the entry of a key, None outside of `sharing`."""
        with self.lock:
            if self.entries is None:
                return None
            for entry in self.entries:
                if _equal(entry.key, key):
                    return entry
            self.entries.append(_Entry(key))
            return self.entries[-1]


_KNOWN = _Known()


@shared_by_threads
@contextmanager
def sharing() -> Iterator[None]:
    """Keep what is computed by `once`, until the last thread leaves."""
    _KNOWN.entries = []
    try:
        yield
    finally:
        _KNOWN.entries = None


def once(compute: Callable[[], Result], *key: Any) -> Result:
    """Compute something, or inside `sharing` return what it was the first time.

    Threads that ask for what another one is computing wait for it.

    Parameters
    ----------
    compute
        It may depend on nothing but the key, and nobody may change what it returns.
    key
        All that it depends on, compared by value.
    """
    entry = _KNOWN.entry(key)
    if entry is None:
        return compute()
    with entry.lock:
        if not entry.results:
            entry.results.append(compute())
        result: Result = entry.results[0]
        return result


def _equal(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    if isinstance(first, tuple):
        # Graphs in tables of one stack are mostly the same objects.
        return len(first) == len(second) and all(map(_equal, first, second))
    return bool(first == second)
