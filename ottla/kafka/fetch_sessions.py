"""Fetch sessions: a reader of many partitions names only what changed since last time (KIP-227).

::

    request   session 0, epoch 0, all partitions      ->  session 17, all partitions
    request   session 17, epoch 1, what has moved     ->  session 17, what has news
    request   session 17, epoch 2, ...

The broker keeps what the reader asked for and what it was last told. A partition has news if there
are records or an error, or if its high watermark or log start is another than was told. Those that
gave records go behind the others, so that a full answer does not always hold the same ones.

A session is the principal's who began it. It ends when its reader says so (epoch -1, or a full
fetch that names it), when nothing is left in it, or when another needs its place and it was not
used for a while. A reader whose session is gone is told so and begins another, so losing one costs
a round trip and nothing else; that is also what happens after a restart.

This machine touches nothing: time and the numbers of sessions come from whoever uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from ottla.model.errors import (
    FetchSessionIdNotFoundError,
    FetchSessionTopicIdError,
    InvalidFetchSessionEpochError,
    OttlaError,
)
from ottla.model.limits import (
    FETCH_SESSION_EVICTED_AFTER_MS,
    FETCH_SESSION_PARTITIONS_MAX,
    FETCH_SESSIONS_MAX,
)
from ottla.wire.messages.fetch import FetchPartition, PartitionData

PartitionKey: TypeAlias = tuple[str | UUID, int]
"""A topic's name, or its id from version 13 on, and a partition."""

NO_SESSION: Final = 0
FIRST_EPOCH: Final = 0
"""Begins a session."""
LAST_EPOCH: Final = -1
"""Ends one, and asks for none."""
_EPOCH_MAX: Final = 2**31 - 1

Answers: TypeAlias = Sequence[tuple[PartitionKey, PartitionData]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """What a fetch says about sessions."""

    session_id: int
    epoch: int
    principal: str
    by_topic_id: bool
    partitions: Mapping[PartitionKey, FetchPartition]
    forgotten: Iterable[PartitionKey] = ()


class _Cached:
    """One partition of a session: what is asked for, and what was told."""

    __slots__ = ("asked", "high_watermark", "log_start_offset")

    def __init__(self, asked: FetchPartition) -> None:
        self.asked = asked
        self.high_watermark = -1
        self.log_start_offset = -1

    def has_news(self, answer: PartitionData) -> bool:
        """Compare an answer with the last one, and take note of it."""
        news = (
            bool(answer.records)
            or answer.error_code != 0
            or answer.high_watermark != self.high_watermark
            or answer.log_start_offset != self.log_start_offset
            or answer.preferred_read_replica >= 0
            or answer.diverging_epoch is not None
        )
        # After an error everything is news.
        self.high_watermark = -1 if answer.error_code else answer.high_watermark
        self.log_start_offset = answer.log_start_offset
        return news


class _Session:
    __slots__ = ("by_topic_id", "epoch", "partitions", "principal", "session_id", "used_ms")

    def __init__(self, session_id: int, request: SessionRequest, now_ms: int) -> None:
        self.session_id = session_id
        self.principal = request.principal
        self.by_topic_id = request.by_topic_id
        self.epoch = FIRST_EPOCH + 1
        self.used_ms = now_ms
        self.partitions = {key: _Cached(asked) for key, asked in request.partitions.items()}

    def check(self, request: SessionRequest) -> None:
        if request.epoch != self.epoch:
            raise InvalidFetchSessionEpochError(
                f"fetch session {self.session_id} goes on at epoch {self.epoch}, and the request "
                f"is of epoch {request.epoch}; begin another"
            )
        if request.by_topic_id != self.by_topic_id:
            raise FetchSessionTopicIdError(
                f"fetch session {self.session_id} was begun by a request of another version, which "
                "named topics in another way; begin another"
            )

    def update(self, request: SessionRequest) -> None:
        for key, asked in request.partitions.items():
            cached = self.partitions.get(key)
            if cached is None:
                self.partitions[key] = _Cached(asked)
            else:
                cached.asked = asked
        for key in request.forgotten:
            self.partitions.pop(key, None)
        self.epoch = self.epoch + 1 if self.epoch < _EPOCH_MAX else 1

    def news(self, answers: Answers) -> list[tuple[PartitionKey, PartitionData]]:
        news = []
        for key, answer in answers:
            cached = self.partitions.get(key)
            if cached is None:
                continue  # forgotten by another request meanwhile
            if cached.has_news(answer):
                news.append((key, answer))
            if answer.records:
                self.partitions[key] = self.partitions.pop(key)
        return news


class SessionFetch:
    """One fetch within a session, or without one."""

    __slots__ = ("_finish", "partitions", "session_id")

    def __init__(
        self,
        partitions: Mapping[PartitionKey, FetchPartition],
        finish: Callable[[Answers, int], tuple[int, Answers]],
        *,
        session_id: int = NO_SESSION,
    ) -> None:
        self.partitions = partitions
        """What to read, in this order."""
        self.session_id = session_id
        """For an answer that tells of no partition. Whoever begins a session must be told of all
        of them, so such an answer begins none."""
        self._finish = finish

    def finish(self, answers: Answers, now_ms: int) -> tuple[int, Answers]:
        """Take the answer for each partition; return the session's id and what the reader gets."""
        return self._finish(answers, now_ms)


class FetchSessions:
    """The sessions of one broker, the longest unused first."""

    def __init__(
        self,
        *,
        new_id: Callable[[], int],
        sessions_max: int = FETCH_SESSIONS_MAX,
        partitions_max: int = FETCH_SESSION_PARTITIONS_MAX,
    ) -> None:
        """Keep sessions; ``new_id`` returns some number above 0 that is hard to guess."""
        self._new_id = new_id
        self._sessions_max = sessions_max
        self._partitions_max = partitions_max
        self._sessions: dict[int, _Session] = {}
        self._partition_count = 0

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def partition_count(self) -> int:
        """How many partitions all sessions have together."""
        return self._partition_count

    def begin(self, request: SessionRequest, now_ms: int) -> SessionFetch:
        """Find out what a fetch reads.

        Raises:
            FetchSessionIdNotFoundError: there is no such session of this principal.
            InvalidFetchSessionEpochError: the session goes on at another epoch.
            FetchSessionTopicIdError: the session names topics in another way.
        """
        session = self._of(request)
        if request.epoch in (FIRST_EPOCH, LAST_EPOCH):
            if session is not None:
                self._remove(session)
            if request.epoch == LAST_EPOCH:
                return SessionFetch(request.partitions, _without_session)
            return SessionFetch(
                request.partitions, lambda answers, now_ms: self._create(request, answers, now_ms)
            )
        if session is None:
            raise _not_found(request.session_id)
        session.check(request)
        before = len(session.partitions)
        session.update(request)
        self._partition_count += len(session.partitions) - before
        if not session.partitions:
            self._remove(session)
            return SessionFetch({}, _without_session)
        session.used_ms = now_ms
        self._sessions[session.session_id] = self._sessions.pop(session.session_id)
        return SessionFetch(
            {key: cached.asked for key, cached in session.partitions.items()},
            lambda answers, _: (session.session_id, session.news(answers)),
            session_id=session.session_id,
        )

    def _of(self, request: SessionRequest) -> _Session | None:
        session = self._sessions.get(request.session_id)
        if session is not None and session.principal != request.principal:
            return None
        return session

    def _create(
        self, request: SessionRequest, answers: Answers, now_ms: int
    ) -> tuple[int, Answers]:
        """Begin a session if there is room for it; tell everything in any case."""
        if not request.partitions or not self._make_room(len(request.partitions), now_ms):
            return NO_SESSION, answers
        session_id = self._new_id()
        while session_id in self._sessions:
            session_id = self._new_id()
        session = _Session(session_id, request, now_ms)
        session.news(answers)
        self._sessions[session_id] = session
        self._partition_count += len(session.partitions)
        return session_id, answers

    def _make_room(self, partitions: int, now_ms: int) -> bool:
        while (
            len(self._sessions) >= self._sessions_max
            or self._partition_count + partitions > self._partitions_max
        ):
            oldest = next(iter(self._sessions.values()), None)
            if oldest is None or now_ms - oldest.used_ms < FETCH_SESSION_EVICTED_AFTER_MS:
                return False
            self._remove(oldest)
        return True

    def _remove(self, session: _Session) -> None:
        del self._sessions[session.session_id]
        self._partition_count -= len(session.partitions)


def _without_session(answers: Answers, now_ms: int) -> tuple[int, Answers]:
    del now_ms
    return NO_SESSION, answers


def _not_found(session_id: int) -> OttlaError:
    return FetchSessionIdNotFoundError(
        f"there is no fetch session {session_id}, or not any more; begin another"
    )
