"""The exceptions that PredictNAS raises on purpose.

Every message is one line that says what was expected, what was found and what to do about it;
the command line prints it as it is and exits with code 2.
"""

from collections.abc import Iterable

__all__ = [
    "CandidateError",
    "InputError",
    "PredictNASError",
    "is_out_of_memory",
    "unknown_name",
]


class PredictNASError(Exception):
    """Base of all exceptions that PredictNAS raises on purpose."""


class InputError(PredictNASError, ValueError):
    """Something handed in from outside (an argument, a file, a study) cannot be used."""


class CandidateError(PredictNASError, RuntimeError):
    """One candidate architecture could not be trained; the search goes on without it."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> InputError:
    """Return the error for a name that a registry does not hold.

    Parameters
    ----------
    kind
        What the registry holds, in the singular: ``"space"``, ``"predictor"``.
    name
        The name that was asked for.
    choices
        The names that exist.
    """
    return InputError(f"unknown {kind} {name!r}; choose from: {', '.join(choices)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, of the machine or of a device.

    Parameters
    ----------
    error
        What was raised. PyTorch's own exception is known by its name, since nothing here may load
        PyTorch; its allocator on CPUs raises a mere RuntimeError.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in text for word in words)
