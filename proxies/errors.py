"""What goes wrong in this package, and how it is put into one line."""

__all__ = ["ProxyError", "UndefinedProxyError", "reason_of"]


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
    if isinstance(error, MemoryError) or "out of memory" in message or "enough memory" in message:
        return f"out of memory: {message}"
    return f"{type(error).__name__}: {message}"
