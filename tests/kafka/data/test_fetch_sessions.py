"""A fetch session remembers what its reader asked for, and tells it what is new."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ottla.kafka.fetch_sessions import FetchSessions, PartitionKey, SessionRequest
from ottla.model.errors import (
    FetchSessionIdNotFoundError,
    FetchSessionTopicIdError,
    InvalidFetchSessionEpochError,
)
from ottla.model.limits import FETCH_SESSION_EVICTED_AFTER_MS
from ottla.wire.messages.fetch import EpochEndOffset, FetchPartition, PartitionData
from tests.cluster.world import batch
from tests.kafka.data.door import DataDoor

A, B, C = ("web", 0), ("web", 1), ("logs", 0)
SESSION_NOT_FOUND, INVALID_EPOCH, TOPIC_ID_ERROR = 70, 71, 106
NEVER_USED_SINCE_MS = FETCH_SESSION_EVICTED_AFTER_MS + 1


def asked(*keys: PartitionKey, offset: int = 0) -> dict[PartitionKey, FetchPartition]:
    return {key: FetchPartition(partition=key[1], fetch_offset=offset) for key in keys}


def answer(high_watermark: int = 5, **fields: object) -> PartitionData:
    return PartitionData(
        high_watermark=high_watermark,
        log_start_offset=0,
        **fields,  # type: ignore[arg-type]
    )


class Broker:
    """Sessions, and a reader that says only what it has to."""

    def __init__(self, *, sessions_max: int = 10, partitions_max: int = 100) -> None:
        self.now_ms = 0
        self._ids = iter(range(1, 1_000))
        self.sessions = FetchSessions(
            new_id=lambda: next(self._ids),
            sessions_max=sessions_max,
            partitions_max=partitions_max,
        )

    def fetch(
        self,
        session_id: int = 0,
        epoch: int = 0,
        partitions: Mapping[PartitionKey, FetchPartition] | None = None,
        *,
        answers: Mapping[PartitionKey, PartitionData] | None = None,
        forgotten: tuple[PartitionKey, ...] = (),
        principal: str = "User:a",
        by_topic_id: bool = False,
    ) -> tuple[int, list[PartitionKey]]:
        """Fetch, and return the session's id and of which partitions there was news."""
        fetch = self.sessions.begin(
            SessionRequest(
                session_id=session_id,
                epoch=epoch,
                principal=principal,
                by_topic_id=by_topic_id,
                partitions=asked(A, B) if partitions is None else partitions,
                forgotten=forgotten,
            ),
            self.now_ms,
        )
        results = [(key, (answers or {}).get(key) or answer()) for key in fetch.partitions]
        told_id, told = fetch.finish(results, self.now_ms)
        return told_id, [key for key, _ in told]

    def reads(self, session_id: int, epoch: int) -> list[PartitionKey]:
        """Return what the next fetch of a session reads, in its order."""
        fetch = self.sessions.begin(
            SessionRequest(
                session_id=session_id,
                epoch=epoch,
                principal="User:a",
                by_topic_id=False,
                partitions={},
            ),
            self.now_ms,
        )
        return list(fetch.partitions)


@pytest.fixture
def broker() -> Broker:
    return Broker()


# --- Life -------------------------------------------------------------------------------------


def test_a_reader_that_wants_no_session_gets_none(broker: Broker) -> None:
    assert broker.fetch(0, -1) == (0, [A, B])
    assert len(broker.sessions) == 0


def test_the_first_fetch_of_a_session_is_told_everything(broker: Broker) -> None:
    assert broker.fetch(0, 0) == (1, [A, B])
    assert broker.sessions.partition_count == 2


def test_a_full_fetch_that_names_a_session_ends_it(broker: Broker) -> None:
    session_id, _ = broker.fetch()

    another, _ = broker.fetch(session_id, 0)

    assert another != session_id
    assert len(broker.sessions) == 1


def test_the_last_epoch_ends_a_session(broker: Broker) -> None:
    session_id, _ = broker.fetch()

    assert broker.fetch(session_id, -1) == (0, [A, B])
    assert (len(broker.sessions), broker.sessions.partition_count) == (0, 0)


def test_a_session_with_nothing_in_it_ends(broker: Broker) -> None:
    session_id, _ = broker.fetch()

    assert broker.fetch(session_id, 1, {}, forgotten=(A, B)) == (0, [])
    assert len(broker.sessions) == 0


def test_a_fetch_of_nothing_begins_no_session(broker: Broker) -> None:
    assert broker.fetch(0, 0, {}) == (0, [])


def test_epochs_go_on_at_one_after_the_largest(broker: Broker) -> None:
    session_id, _ = broker.fetch()
    session = broker.sessions._sessions[session_id]
    session.epoch = 2**31 - 1

    broker.fetch(session_id, 2**31 - 1, {})

    assert broker.fetch(session_id, 1, {})[0] == session_id


# --- Errors -----------------------------------------------------------------------------------


def test_statement_27_a_session_that_nobody_knows_is_not_found(broker: Broker) -> None:
    with pytest.raises(FetchSessionIdNotFoundError):
        broker.fetch(17, 1, {})


def test_another_principal_cannot_use_or_end_a_session(broker: Broker) -> None:
    session_id, _ = broker.fetch()

    with pytest.raises(FetchSessionIdNotFoundError):
        broker.fetch(session_id, 1, {}, principal="User:b")
    broker.fetch(session_id, -1, principal="User:b")
    assert broker.fetch(session_id, 1, {})[0] == session_id


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_session_goes_on_at_the_next_epoch_only(broker: Broker, epoch: int) -> None:
    session_id, _ = broker.fetch()

    with pytest.raises(InvalidFetchSessionEpochError):
        broker.fetch(session_id, epoch, {})


def test_an_epoch_is_used_once(broker: Broker) -> None:
    session_id, _ = broker.fetch()
    broker.fetch(session_id, 1, {})

    with pytest.raises(InvalidFetchSessionEpochError):
        broker.fetch(session_id, 1, {})


def test_a_session_of_names_is_none_of_ids(broker: Broker) -> None:
    session_id, _ = broker.fetch()

    with pytest.raises(FetchSessionTopicIdError):
        broker.fetch(session_id, 1, {}, by_topic_id=True)


# --- News -------------------------------------------------------------------------------------


def test_what_is_as_it_was_is_not_told_again(broker: Broker) -> None:
    session_id, _ = broker.fetch()

    assert broker.fetch(session_id, 1, {}) == (session_id, [])


@pytest.mark.parametrize(
    "changed",
    [
        answer(high_watermark=6),
        answer(records=b"batch"),
        answer(error_code=6),
        answer(preferred_read_replica=2),
        answer(diverging_epoch=EpochEndOffset(epoch=1, end_offset=3)),
        PartitionData(high_watermark=5, log_start_offset=2),
    ],
    ids=["high watermark", "records", "error", "replica", "epoch", "log start"],
)
def test_what_changed_is_told(broker: Broker, changed: PartitionData) -> None:
    session_id, _ = broker.fetch()

    assert broker.fetch(session_id, 1, {}, answers={B: changed}) == (session_id, [B])


def test_what_comes_after_an_error_is_told(broker: Broker) -> None:
    session_id, _ = broker.fetch()
    broker.fetch(session_id, 1, {}, answers={B: answer(high_watermark=-1, error_code=6)})

    assert broker.fetch(session_id, 2, {}) == (session_id, [B])


def test_a_reader_moves_on_in_the_partitions_that_it_names(broker: Broker) -> None:
    session_id, _ = broker.fetch()

    fetch = broker.sessions.begin(
        SessionRequest(
            session_id=session_id,
            epoch=1,
            principal="User:a",
            by_topic_id=False,
            partitions=asked(B, offset=5),
        ),
        0,
    )

    assert [(key, part.fetch_offset) for key, part in fetch.partitions.items()] == [(A, 0), (B, 5)]


def test_partitions_come_and_go(broker: Broker) -> None:
    session_id, _ = broker.fetch()

    assert broker.fetch(session_id, 1, asked(C), forgotten=(A,)) == (session_id, [C])
    assert broker.reads(session_id, 2) == [B, C]
    assert broker.sessions.partition_count == 2


def test_what_gave_records_goes_behind_the_others(broker: Broker) -> None:
    session_id, _ = broker.fetch(partitions=asked(A, B, C))

    broker.fetch(session_id, 1, {}, answers={A: answer(records=b"batch")})

    assert broker.reads(session_id, 2) == [B, C, A]


# --- Bounds -----------------------------------------------------------------------------------


def test_the_longest_unused_session_gives_way() -> None:
    broker = Broker(sessions_max=2)
    first, _ = broker.fetch()
    second, _ = broker.fetch()
    broker.now_ms = NEVER_USED_SINCE_MS
    broker.fetch(first, 1, {})

    third, _ = broker.fetch()

    assert third != 0
    assert broker.fetch(first, 2, {})[0] == first
    with pytest.raises(FetchSessionIdNotFoundError):
        broker.fetch(second, 1, {})


def test_sessions_in_use_stay_and_the_newcomer_does_without() -> None:
    broker = Broker(sessions_max=1)
    first, _ = broker.fetch()

    assert broker.fetch() == (0, [A, B])
    assert broker.fetch(first, 1, {})[0] == first


def test_sessions_are_bounded_by_their_partitions_too() -> None:
    broker = Broker(partitions_max=3)
    broker.fetch()

    assert broker.fetch()[0] == 0


# --- Through the handler ------------------------------------------------------------------------


async def test_an_incremental_fetch_is_told_of_what_was_written_since(door: DataDoor) -> None:
    both = [
        ("web", FetchPartition(partition=number, partition_max_bytes=1_000)) for number in (0, 1)
    ]
    first = await door.fetch(*both, session_epoch=0)
    await door.produced(batch(b"new"), index=1)

    second = await door.fetch(session_id=first.session_id, session_epoch=1)

    assert len(first.responses[0].partitions) == 2
    assert second.session_id == first.session_id
    assert [
        answer.partition_index for topic in second.responses for answer in topic.partitions
    ] == [1]


@pytest.mark.parametrize(
    ("session_id", "epoch", "version", "code"),
    [
        (99, 1, 18, SESSION_NOT_FOUND),
        (101, 5, 18, INVALID_EPOCH),
        (101, 1, 12, TOPIC_ID_ERROR),
    ],
)
async def test_statement_27_errors_of_sessions_concern_the_whole_request(
    door: DataDoor, session_id: int, epoch: int, version: int, code: int
) -> None:
    begun = await door.fetch(("web", FetchPartition(partition=0)), session_epoch=0)
    assert begun.session_id == 101

    response = await door.fetch(session_id=session_id, session_epoch=epoch, version=version)

    assert (response.error_code, response.responses) == (code, [])


async def test_a_topic_that_goes_is_an_error_in_its_session(door: DataDoor) -> None:
    begun = await door.fetch(("web", FetchPartition(partition=0)), session_epoch=0)
    await door.world.delete_topic("web")

    response = await door.fetch(session_id=begun.session_id, session_epoch=1, max_wait_ms=60_000)

    assert response.responses[0].partitions[0].error_code == 100


async def test_a_forgotten_partition_is_read_no_more(door: DataDoor) -> None:
    begun = await door.fetch(
        ("web", FetchPartition(partition=0, partition_max_bytes=1_000)),
        ("web", FetchPartition(partition=1, partition_max_bytes=1_000)),
        session_epoch=0,
    )
    await door.produced(index=0)

    response = await door.fetch(
        session_id=begun.session_id, session_epoch=1, forgotten=[("web", 0)]
    )

    assert response.responses == []
