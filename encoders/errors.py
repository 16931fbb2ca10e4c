"""The exception that the encodings raise on purpose."""

__all__ = ["EncodingError"]


class EncodingError(ValueError):
    """A graph is malformed, or an encoder cannot represent it.

    The message is one line that says what was expected, what was found and what to do about it.
    """
