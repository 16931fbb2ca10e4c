"""Memory that a process of ours keeps for its next tensors."""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# Parameters of mallopt in <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# As much as an int of C holds, in which mallopt takes them.
_KEPT_BYTES = 2**31 - 1


def keep_freed_memory() -> None:
    """Have this process keep up to 2 GiB of what it frees, where the C library is glibc.

    By default large blocks go back to the system at once, and their pages come again one by one,
    filled with zeros, for the next tensor of that size: up to half of the time that passes of a
    network take on a CPU. The most that a process holds at a time does not change.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
