"""Ask the leaders of partitions where something is: the earliest record, the latest, a time.

What is asked is a number, as in Kafka: a timestamp, or one of three that no timestamp can be.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from ottla.client.backoff import Backoff
from ottla.client.connections import Connections
from ottla.client.metadata import MetadataCache, patience_ms
from ottla.client.rpc import call, error_from_message
from ottla.client.settings import ConnectionSettings
from ottla.model.errors import LeaderNotAvailableError, OttlaError
from ottla.model.ids import TopicPartition
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX
from ottla.v1 import log_pb2

LATEST: Final = -1
"""Where the next committed record will be."""
EARLIEST: Final = -2
"""The log start offset."""
MAX_TIMESTAMP: Final = -3
"""The record with the highest timestamp."""


class OffsetFound(NamedTuple):
    """An answer; both are -1 if no record answers the question."""

    offset: int
    timestamp_ms: int
    """Of the record that was found by its time, else -1."""


class OffsetLookup:
    """Makes ListOffsets calls for one client."""

    def __init__(
        self, connections: Connections, metadata: MetadataCache, settings: ConnectionSettings
    ) -> None:
        self._connections = connections
        self._metadata = metadata
        self._settings = settings

    async def find(
        self, questions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetFound]:
        """Return an answer for every partition asked about.

        What may pass is tried again for ``request_timeout_ms``; a partition that does not exist,
        or whose leader's disk failed, not for as long.

        Raises:
            UnknownTopicOrPartitionError: there is no such topic or partition.
            OttlaError: the first error that did not pass.
        """
        timeout_ms = self._settings.request_timeout_ms
        deadline_ms = _now_ms() + timeout_ms
        for topic in sorted({partition.topic for partition in questions}):
            await self._metadata.topic(topic, timeout_ms=deadline_ms - _now_ms())
        backoff = Backoff(self._settings.retry_backoff_ms, self._settings.retry_backoff_max_ms)
        found: dict[TopicPartition, OffsetFound] = {}
        failing_since_ms: dict[tuple[TopicPartition, type[OttlaError]], float] = {}
        while True:
            left = {key: asked for key, asked in questions.items() if key not in found}
            answers, failures = await self.ask_once(left, timeout_ms=deadline_ms - _now_ms())
            found |= answers
            if not failures:
                return found
            delay_ms = backoff.next_delay_ms()
            next_ms = _now_ms() + delay_ms
            for partition, error in failures.items():
                since_ms = failing_since_ms.setdefault((partition, type(error)), _now_ms())
                if next_ms >= min(deadline_ms, since_ms + patience_ms(error)):
                    raise error
            self._metadata.request_refresh()
            await asyncio.sleep(delay_ms / 1000)

    async def ask_once(
        self, questions: Mapping[TopicPartition, int], *, timeout_ms: float
    ) -> tuple[dict[TopicPartition, OffsetFound], dict[TopicPartition, OttlaError]]:
        """Ask each leader once, all at the same time; return answers and failures."""
        by_leader: dict[int, dict[TopicPartition, int]] = defaultdict(dict)
        answers: dict[TopicPartition, OffsetFound] = {}
        failures: dict[TopicPartition, OttlaError] = {}
        picture = self._metadata.picture
        for partition, asked in questions.items():
            leader = picture.leader_of(partition)
            if leader is None:
                failures[partition] = picture.why_no_leader(partition)
            else:
                by_leader[leader.broker_id][partition] = asked
        await asyncio.gather(
            *(
                self._ask_leader(broker_id, dict(part), timeout_ms, answers, failures)
                for broker_id, asked in by_leader.items()
                for part in _parts(asked)
            )
        )
        return answers, failures

    async def _ask_leader(
        self,
        broker_id: int,
        questions: Mapping[TopicPartition, int],
        timeout_ms: float,
        answers: dict[TopicPartition, OffsetFound],
        failures: dict[TopicPartition, OttlaError],
    ) -> None:
        connection = self._connections.to(self._metadata.picture.brokers[broker_id])
        request = log_pb2.ListOffsetsRequest(
            partitions=[_question(partition, asked) for partition, asked in questions.items()]
        )
        try:
            response = await call(
                connection.log.ListOffsets,
                request,
                address=connection.address,
                timeout_ms=timeout_ms,
            )
        except OttlaError as error:
            failures.update(dict.fromkeys(questions, error))
            return
        for answer in response.partitions:
            partition = TopicPartition(answer.topic, answer.partition)
            if answer.error.code:
                failures[partition] = error_from_message(answer.error)
            else:
                answers[partition] = OffsetFound(answer.offset, answer.timestamp_ms)
        for partition in _unanswered(questions, answers, failures):
            failures[partition] = LeaderNotAvailableError(
                f"{connection.address} did not answer for {partition}"
            )


def _parts(
    questions: Mapping[TopicPartition, int],
) -> Iterator[list[tuple[TopicPartition, int]]]:
    """Split questions into requests that are not too large."""
    rest = iter(questions.items())
    while part := list(islice(rest, PARTITIONS_PER_REQUEST_MAX)):
        yield part


def _unanswered(
    questions: Iterable[TopicPartition], *answered: Mapping[TopicPartition, object]
) -> list[TopicPartition]:
    """Return the partitions asked about that none of the answers is for."""
    return [key for key in questions if not any(key in answers for answers in answered)]


def _question(partition: TopicPartition, asked: int) -> log_pb2.ListOffsetsRequest.Partition:
    question = log_pb2.ListOffsetsRequest.Partition(
        topic=partition.topic, partition=partition.partition
    )
    if asked == EARLIEST:
        question.earliest = True
    elif asked == LATEST:
        question.latest = True
    elif asked == MAX_TIMESTAMP:
        question.max_timestamp = True
    else:
        question.timestamp_ms = asked
    return question


def _now_ms() -> float:
    return time.monotonic() * 1000
