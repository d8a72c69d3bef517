"""What a shard of the group coordinator wants done: append records, answer requests.

A shard is a machine that touches nothing. It changes its own state as it takes a request, and
returns what must follow. Its shell appends ``records`` in one batch, in order, to the shard's
partition, and lets an answer go once everything that the shard had appended by then is committed.

If records cannot be appended, the shell throws the whole machine away and reads the log anew: what
a machine holds is never ahead of its log for longer than one call. Whoever waits is told to come
back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NewType

from ottla.model.errors import OttlaError

Token = NewType("Token", int)
"""A request that waits for its answer; the shell gives it, and it comes back in one answer."""


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A record of ``__consumer_offsets`` in Kafka's format; no value: the key is gone."""

    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with: the value that its type names, or an error."""

    token: Token
    value: object | OttlaError
    after_commit: bool = True
    """``False``: it says nothing about the log, and need not wait for it."""


@dataclass(slots=True)
class Effects:
    """What must follow, the records before the answers."""

    records: list[GroupRecord] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def answer(self, token: Token, value: object, *, after_commit: bool = True) -> None:
        """Let a request be answered."""
        self.answers.append(Answer(token, value, after_commit))
