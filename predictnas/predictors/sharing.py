"""What several predictors of a stack compute of the same table, computed once."""

import threading
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np

__all__ = ["Sharing", "once"]

Result = TypeVar("Result")


class _Entry:
    """A result, once there is one, and what it was computed from."""

    def __init__(self, key: tuple[Any, ...]) -> None:
        self.key = key
        self.lock = threading.Lock()
        self.results: list[Any] = []


class Sharing:
    """A context in which threads share what is computed by `once`.

    Every thread that takes part enters it for itself; results are kept as long as the object is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []

    def __enter__(self) -> Self:
        _ENTERED.contexts = (*_contexts(), self)
        return self

    def __exit__(self, *exception: object) -> None:
        _ENTERED.contexts = _contexts()[:-1]

    def _once(self, compute: Callable[[], Result], key: tuple[Any, ...]) -> Result:
        with self._lock:
            entry = next((each for each in self._entries if _equal(each.key, key)), None)
            if entry is None:
                entry = _Entry(key)
                self._entries.append(entry)
        with entry.lock:
            if not entry.results:
                entry.results.append(compute())
            result: Result = entry.results[0]
            return result


_ENTERED = threading.local()


def _contexts() -> tuple[Sharing, ...]:
    contexts: tuple[Sharing, ...] = getattr(_ENTERED, "contexts", ())
    return contexts


def once(compute: Callable[[], Result], *key: Any) -> Result:
    """Compute something, or inside `Sharing` return what it was the first time.

    Threads that ask for what another one is computing wait for it.

    Parameters
    ----------
    compute
        It may depend on nothing but the key, and nobody may change what it returns.
    key
        All that it depends on, compared by value.
    """
    contexts = _contexts()
    return contexts[-1]._once(compute, key) if contexts else compute()


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
