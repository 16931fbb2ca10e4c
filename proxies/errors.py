"""What goes wrong in this package, and how it is put into one line."""

from torch import OutOfMemoryError

__all__ = ["ProxyError", "UndefinedProxyError", "is_out_of_memory", "reason_of"]


class ProxyError(ValueError):
    """An argument of this package cannot be used."""


class UndefinedProxyError(ProxyError):
    """A proxy has no value for this model and batch; the message becomes its status."""


def reason_of(error: BaseException) -> str:
    """Return why a proxy has no value, in one line.

    Parameters
    ----------
    error
        What was raised while the proxy was computed.
    """
    lines = str(error).strip().splitlines()
    message = lines[0].strip() if lines else "no message"
    if isinstance(error, ProxyError):
        return message
    if is_out_of_memory(error):
        return f"out of memory: {message}"
    return f"{type(error).__name__}: {message}"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, of the machine or of a device.

    Parameters
    ----------
    error
        What was raised.
    """
    if isinstance(error, MemoryError | OutOfMemoryError):
        return True
    # The allocator of the CPU has no exception type of its own.
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
