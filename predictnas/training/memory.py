"""Memory of the processes that train and score.

By default the C library glibc gives large blocks back to the system at once, and their pages come
again one by one, filled with zeros, for the next tensor of that size: up to half of the time that
passes of a network take on a CPU.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keep_freed_memory", "large_pages"]

# Parameters of mallopt in <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# As much as an int of C holds, in which mallopt takes them.
_KEPT_BYTES = 2**31 - 1
_TUNABLES, _LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"


def keep_freed_memory() -> None:
    """Have this process keep up to 2 GiB of what it frees, where the C library is glibc.

    The most that a process holds at a time does not change.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@contextmanager
def large_pages() -> Iterator[None]:
    """Have processes that are started inside ask for large pages, where glibc (2.35) does that."""
    before = os.environ.get(_TUNABLES)
    os.environ[_TUNABLES] = f"{before}:{_LARGE_PAGES}" if before else _LARGE_PAGES
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TUNABLES]
        else:
            os.environ[_TUNABLES] = before
