"""The one way in which bytes can be refused.

Whatever a peer sends, decoding either returns a message or raises :exc:`MalformedError`; a
connection that sent such a frame is closed, for nothing behind it can be trusted. The functions
here make the errors, so that generated code can raise them in few words.
"""

from __future__ import annotations

from ottla.model.errors import InvalidRequestError


class MalformedError(InvalidRequestError):
    """The bytes are not the message that their header names, or exceed a bound on messages."""


def bad_count(count: int, remaining: int) -> MalformedError:
    """An array claims more elements than its bytes can hold, or fewer than none."""
    return MalformedError(f"the sender claims {count} elements where {remaining} bytes remain")


def bad_length(length: int, remaining: int) -> MalformedError:
    """A string or a run of bytes claims more than there is, or less than nothing."""
    return MalformedError(f"the sender claims {length} bytes where {remaining} remain")


def bad_null(name: str) -> MalformedError:
    """Null was sent where the protocol has a value."""
    return MalformedError(f"the sender left out {name}, which may not be null")


def bad_flag(name: str, byte: int) -> MalformedError:
    """A byte that says yes or no says neither."""
    return MalformedError(f"the sender wrote {byte} for {name}, which is 0 or 1")


def too_many() -> MalformedError:
    """All arrays together have more elements than one message may have."""
    return MalformedError("the sender put more elements into one message than this side reads")
