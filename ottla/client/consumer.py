"""Read records from topics.

    async with Consumer("web", auto_offset_reset="earliest") as consumer:
        async for record in consumer:
            print(record.offset, record.value)

Records of one partition come in order, each once, without gaps, from wherever reading began:
through lost connections, broker restarts and changes of leader. Only committed records are seen.
Where reading begins is ``auto_offset_reset``, or :meth:`Consumer.seek`. With ``group_id``,
consumers share the partitions among them, and go on where the group has committed; see
:mod:`ottla.client.group`.

Records are fetched ahead, up to ``prefetch_bytes``; see :mod:`ottla.client.fetcher`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Self, Unpack

from ottla.client.consumer_record import ConsumerRecord, OffsetAndTimestamp
from ottla.client.consumer_session import ConsumerSession
from ottla.client.errors import ClientClosedError
from ottla.client.fetcher import Fetcher
from ottla.client.group_member import Subscription
from ottla.client.group_offsets import (
    Committer,
    OffsetAndMetadata,
    commit_offsets,
    committed_offsets,
    offsets_to_commit,
)
from ottla.client.handed_over import HandedOver
from ottla.client.offset_lookup import EARLIEST, LATEST
from ottla.client.partition_reader import PartitionReader
from ottla.client.rebalance_listener import RebalanceListener
from ottla.client.settings import ConsumerOptions, ConsumerSettings, read_settings
from ottla.model.errors import (
    InvalidRequestError,
    RequestTimedOutError,
)
from ottla.model.ids import TopicPartition
from ottla.model.topic_names import check_topic_name


class Consumer:
    """Reads records; see the module for what it promises.

    Args:
        *topics: to read, with all their partitions, including ones that are added later. Without
            any, name partitions with :meth:`assign`.
        bootstrap_servers: ``host:port`` of one broker or several, by their gRPC ports.
        **options: the settings of :class:`~ottla.client.settings.ConsumerSettings`.

    Raises:
        InvalidConfigError: a setting has a value that makes no sense.
        InvalidTopicError: a topic cannot have that name.
        TypeError: there is no such setting.

    A consumer belongs to the event loop that runs when it is started. One task at a time should
    read from it.
    """

    def __init__(
        self,
        *topics: str,
        bootstrap_servers: str | Iterable[str] = "127.0.0.1:7092",
        **options: Unpack[ConsumerOptions],
    ) -> None:
        self._settings = read_settings(ConsumerSettings, bootstrap_servers, options)
        for topic in topics:
            check_topic_name(topic)
        self._topics = tuple(dict.fromkeys(topics))
        self._pattern = ""
        self._listener: RebalanceListener | None = None
        self.handed_over = HandedOver()
        """What the application has. The blocking consumer puts its own here."""
        self._session: ConsumerSession | None = None
        self._is_stopped = False

    async def start(self) -> None:
        """Connect, and find where to begin to read the topics that were named.

        When this returns, a consumer that begins at the latest record will see whatever is sent
        from now on.

        A member of a group has joined it when this returns, and is given partitions a little later;
        where nothing is committed for one, "latest" is what is there *then*.

        Raises:
            NoBrokersAvailableError: no broker answered within ``connect_timeout_ms``.
            UnknownTopicOrPartitionError: there is no such topic.
            AccessDeniedError: a broker does not let this client in.
            ClientClosedError: the consumer was stopped; make a new one.
            GroupIdNotFoundError: the group has members of the classic protocol.
            GroupMaxSizeReachedError: the group is full.
            UnreleasedInstanceIdError: another consumer lives under ``group_instance_id``.
            InvalidRegularExpressionError: the pattern subscribed to is none.
            OttlaError: something else that will not pass keeps a topic from being read, or this
                consumer out of its group.

        No error if started before.
        """
        if self._session is not None:
            return
        if self._is_stopped:
            raise ClientClosedError("the consumer was stopped; make a new one")
        session = ConsumerSession(self._settings, self.handed_over)
        try:
            if self._settings.group_id is None:
                await session.start(self._topics)
            else:
                subscription = Subscription(self._topics, self._pattern)
                await session.start_in_group(subscription, self._listener)
        except BaseException:
            await session.stop(is_settled=False)
            raise
        self._session = session

    async def stop(self) -> None:
        """Disconnect, and forget what was fetched ahead. No error if stopped before.

        A member of a group leaves it; with ``enable_auto_commit``, all records that were handed
        out count as processed, and are committed first. A coordinator that cannot be asked is
        waited for, for ``request_timeout_ms``, and so is a rebalance listener. Raises
        :exc:`RebalanceListenerError` if that fails, when all else is done.
        """
        await self._stop(is_settled=True)

    async def _stop(self, *, is_settled: bool) -> None:
        session, was_stopped = self._session, self._is_stopped
        self._is_stopped = True
        if session is None or was_stopped:
            return
        try:
            # A rebalance listener may use the consumer until its group is left.
            await session.stop(is_settled=is_settled)
        finally:
            self._session = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Whatever the application was doing when it failed, it was not done with it.
        await self._stop(is_settled=error is None)

    # --- Reading ------------------------------------------------------------------------------

    async def getone(self) -> ConsumerRecord:
        """Return the next record, waiting for it as long as it takes.

        Raises what :meth:`getmany` raises.
        """
        fetcher = self._usable()
        self.handed_over.asked()
        while True:
            fetcher.raise_errors()
            record = fetcher.take_one()
            if record is not None:
                self.handed_over.one(record)
                return record
            fetcher.raise_errors()
            await fetcher.wait_for_news()

    async def getmany(
        self, *, timeout_ms: float = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Return what has been fetched, by partition, in order; never an empty list in it.

        Waits up to ``timeout_ms`` for the first records; then, an empty dictionary. At most
        ``max_records`` (``None``: ``max_poll_records``) are returned, partitions taking turns.

        Raises, after all records that come before:
            OffsetOutOfRangeError: the position does not exist (any more), and
                ``auto_offset_reset`` is ``"none"``. Likewise NoOffsetError without a position.
            CorruptMessageError, InvalidRecordError: a batch is damaged on the broker's disk.
            DeserializationError: ``key_deserializer`` or ``value_deserializer`` failed.
            UnknownTopicOrPartitionError: the topic is gone.
            ClientClosedError: the consumer was not started, or was stopped.
            OttlaError: the consumer has failed for good.

        The partition stays where it is until the application seeks elsewhere, while the others go
        on; if there are none, every call raises again.
        """
        fetcher = self._usable()
        records_max = self._settings.max_poll_records if max_records is None else max_records
        if records_max < 1:
            raise InvalidRequestError(f"max_records is {max_records}; it takes 1 or more")
        return await self._take(fetcher, records_max, None, _now_ms() + timeout_ms)

    async def _take(
        self, fetcher: Fetcher, records_max: int, partitions_max: int | None, deadline_ms: float
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        self.handed_over.asked()
        while True:
            fetcher.raise_errors()
            taken = fetcher.take(records_max, partitions_max=partitions_max)
            if taken:
                self.handed_over.many(taken)
                return taken
            fetcher.raise_errors()
            if _now_ms() >= deadline_ms:
                # Who polls without patience must let the fetching go on all the same.
                await asyncio.sleep(0)
                taken = fetcher.take(records_max, partitions_max=partitions_max)
                self.handed_over.many(taken)
                return taken
            try:
                async with asyncio.timeout((deadline_ms - _now_ms()) / 1000):
                    await fetcher.wait_for_news()
            except TimeoutError:
                continue

    def __aiter__(self) -> AsyncIterator[ConsumerRecord]:
        return self

    async def __anext__(self) -> ConsumerRecord:
        """Return the next record; the iteration ends when the consumer is stopped."""
        session = self._session
        if session is not None:
            record = session.fetcher.take_one()
            if record is not None:
                if session.group is not None:
                    self.handed_over.next(record)
                return record
        try:
            return await self.getone()
        except ClientClosedError:
            if self._is_stopped:
                raise StopAsyncIteration from None
            raise

    async def batches(self) -> AsyncIterator[list[ConsumerRecord]]:
        """Iterate over records in pieces: each of one partition, in order, not empty.

        A piece has at most ``max_poll_records``. Positions are behind what was handed out.
        """
        records_max = self._settings.max_poll_records
        while True:
            try:
                # Of one partition at a time: what is not handed out must not count as processed.
                taken = await self._take(self._usable(), records_max, 1, _now_ms() + _A_WHILE_MS)
            except ClientClosedError:
                if self._is_stopped:
                    return
                raise
            for records in taken.values():
                yield records

    # --- In a group ---------------------------------------------------------------------------

    def subscribe(
        self,
        *topics: str,
        pattern: str = "",
        listener: RebalanceListener | None = None,
    ) -> None:
        """Read these topics, and those whose whole name matches ``pattern`` (RE2 syntax).

        What was subscribed to before is not any more. May be called before the start, or while the
        consumer runs; then partitions come and go as the group rebalances.

        Raises:
            InvalidRequestError: the consumer has no ``group_id``, reads partitions that were
                assigned to it, or nothing is named.
            InvalidTopicError: a topic cannot have that name.
            ClientClosedError: the consumer was stopped.
        """
        if self._settings.group_id is None:
            raise InvalidRequestError(
                "only a member of a group can subscribe; give the consumer a group_id, or name "
                "the topics when it is made"
            )
        if not topics and not pattern:
            raise InvalidRequestError("name a topic or a pattern to subscribe to")
        for topic in topics:
            check_topic_name(topic)
        self._topics, self._pattern = tuple(dict.fromkeys(topics)), pattern
        self._listener = listener
        if self._session is not None or self._is_stopped:
            self._usable()
            assert self._session is not None
            self._session.subscribe(Subscription(self._topics, pattern), listener)

    async def commit(
        self, offsets: Mapping[TopicPartition, int | OffsetAndMetadata] | None = None
    ) -> None:
        """Commit for the group: by default, that everything handed out so far is processed.

        An offset that is given is that of the *next* record to read. When this returns, it is
        replicated. Within a rebalance listener, which knows nothing of what the application has in
        hand, the default leaves that out.

        Raises:
            InvalidRequestError: the consumer has no ``group_id``, or an offset is negative.
            UnknownTopicOrPartitionError: there is no such partition; what exists is committed.
            UnknownMemberIdError, FencedMemberEpochError: the group went on without this member;
                others read its partitions and will see these records again.
            RequestTimedOutError, CoordinatorNotAvailableError: the coordinator could not be asked,
                or not in time; it may be committed.
        """
        self._usable()
        session = self._session
        assert session is not None
        coordinator = session.coordinator_for("commit")
        given = None if offsets is None else offsets_to_commit(offsets)
        if session.group is not None:
            await session.group.commit(given)
            return
        if given is None:
            given = offsets_to_commit(self.positions())
        await commit_offsets(coordinator, given, Committer())

    async def committed(
        self, partitions: Iterable[TopicPartition] | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """Return what the group has committed; of all its partitions if none are named.

        ``None`` for a partition that nothing was committed for. Raises as :meth:`commit`.
        """
        self._usable()
        assert self._session is not None
        coordinator = self._session.coordinator_for("ask what is committed")
        wanted = None if partitions is None else [TopicPartition(*each) for each in partitions]
        return await committed_offsets(coordinator, wanted)

    async def lag(self) -> dict[TopicPartition, int]:
        """Return how many offsets each assigned partition is behind what is committed to it.

        Counted from where the application is, which may be beyond what the group has committed.
        Raises as :meth:`end_offsets`.
        """
        positions = self.positions()
        ends = await self.end_offsets(positions)
        return {each: max(0, ends[each] - position) for each, position in positions.items()}

    # --- Where to read ------------------------------------------------------------------------

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions and no others; those that were read before keep their place.

        Raises:
            InvalidRequestError: topics were named when the consumer was made, or a partition is
                negative.
            InvalidTopicError: a topic cannot have that name.
        """
        fetcher = self._usable()
        wanted = [TopicPartition(*partition) for partition in partitions]
        if self._topics or self._pattern:
            raise InvalidRequestError(
                f"this consumer reads {', '.join(self._topics) or self._pattern}; make one without "
                "topics to assign partitions"
            )
        for partition in wanted:
            check_topic_name(partition.topic)
            if partition.partition < 0:
                raise InvalidRequestError(f"{partition} does not exist; partitions begin at 0")
        assert self._session is not None
        self._session.metadata.want(partition.topic for partition in wanted)
        gone = set(fetcher.readers) - set(wanted)
        for partition in gone:
            fetcher.remove(partition)
        self.handed_over.gone(gone)
        for partition in wanted:
            if partition not in fetcher.readers:
                fetcher.add(partition)

    def assignment(self) -> set[TopicPartition]:
        """Return the partitions that are read."""
        return set(self._usable().readers)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on at ``offset``; what was fetched ahead is dropped.

        Whether the offset exists becomes clear when it is read; see ``auto_offset_reset``.

        Raises :exc:`InvalidRequestError` if the partition is not assigned, or the offset negative.
        """
        reader = self._reader(partition)
        if offset < 0:
            raise InvalidRequestError(
                f"offset {offset} of {partition} cannot exist; offsets begin at 0 (see "
                "seek_to_beginning and seek_to_end)"
            )
        self._usable().seek(reader, offset)
        self.handed_over.drop((reader.topic_partition,))

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset of every assigned partition whose position is known."""
        positions = {
            partition: reader.position
            for partition, reader in self._usable().readers.items()
            if reader.position is not None
        }
        return positions | self.handed_over.waiting()

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Read on at the first record; of all assigned partitions if none are named.

        Returns when the new positions are known.
        """
        await self._seek_to(EARLIEST, partitions)

    async def seek_to_end(self, *partitions: TopicPartition) -> None:
        """Read on behind the last committed record; of all assigned partitions if none are named.

        Returns when the new positions are known.
        """
        await self._seek_to(LATEST, partitions)

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset of the next record to be handed out, waiting until it is known.

        Raises:
            InvalidRequestError: the partition is not assigned.
            RequestTimedOutError: no leader could be asked for ``request_timeout_ms``.
            OttlaError: what keeps the partition from having a position.
        """
        (reader,) = await self._wait_for_positions((self._reader(partition),))
        assert reader.position is not None
        return self.handed_over.waiting().get(reader.topic_partition, reader.position)

    def pause(self, *partitions: TopicPartition) -> None:
        """Hand out nothing of these partitions until :meth:`resume`; positions stay."""
        for reader in [self._reader(partition) for partition in partitions]:
            self._usable().pause(reader)
            self.handed_over.pause((reader.topic_partition,))

    def resume(self, *partitions: TopicPartition) -> None:
        """Go on with partitions that were paused; no error if they were not."""
        for reader in [self._reader(partition) for partition in partitions]:
            self._usable().resume(reader)
            self.handed_over.resume((reader.topic_partition,))

    def paused(self) -> set[TopicPartition]:
        """Return the partitions that are paused."""
        readers = self._usable().readers
        return {partition for partition, reader in readers.items() if reader.is_paused}

    # --- What is there ------------------------------------------------------------------------

    def highwater(self, partition: TopicPartition) -> int | None:
        """Return the end of what is committed, exclusive, as last heard; ``None`` before that."""
        return self._reader(partition).high_watermark

    async def beginning_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Return the offset of the first record of each partition, or where it will be.

        Raises as :meth:`end_offsets`.
        """
        return await self._find(dict.fromkeys(partitions, EARLIEST))

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where the next committed record of each partition will be.

        The partitions need not be assigned.

        Raises:
            UnknownTopicOrPartitionError: there is no such partition.
            OttlaError: what kept a leader from answering for ``request_timeout_ms``.
        """
        return await self._find(dict.fromkeys(partitions, LATEST))

    async def offsets_for_times(
        self, timestamps_ms: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """Return the first record at or after a time, in milliseconds since 1970.

        ``None`` where all records are earlier. Raises as :meth:`end_offsets`, and
        :exc:`InvalidRequestError` for a negative time.
        """
        self._usable()
        assert self._session is not None
        for partition, timestamp_ms in timestamps_ms.items():
            if timestamp_ms < 0:
                raise InvalidRequestError(
                    f"{timestamp_ms} is not a time to look for in {partition}"
                )
        found = await self._session.lookup.find(timestamps_ms)
        return {
            partition: OffsetAndTimestamp(*answer) if answer.offset >= 0 else None
            for partition, answer in found.items()
        }

    async def partitions_for_topic(self, topic: str) -> set[int]:
        """Return the numbers of a topic's partitions; raises as :meth:`end_offsets`."""
        self._usable()
        assert self._session is not None
        check_topic_name(topic)
        leaders = await self._session.metadata.topic(
            topic, timeout_ms=self._settings.request_timeout_ms
        )
        return set(range(len(leaders.partitions)))

    def __repr__(self) -> str:
        state = "running" if self._session else "closed"
        return f"<Consumer of {', '.join(self._topics) or 'assigned partitions'} {state}>"

    # --- Inside -------------------------------------------------------------------------------

    def _usable(self) -> Fetcher:
        session = self._session
        if session is None:
            if self._is_stopped:
                raise ClientClosedError("the consumer was stopped; make a new one")
            raise ClientClosedError(
                "the consumer is not running; call 'await consumer.start()' first, or use "
                "'async with'"
            )
        failure = session.fetcher.failure
        if failure is not None:
            raise failure.with_traceback(None)
        return session.fetcher

    def _reader(self, partition: TopicPartition) -> PartitionReader:
        reader = self._usable().readers.get(TopicPartition(*partition))
        if reader is None:
            raise InvalidRequestError(
                f"{TopicPartition(*partition)} is not assigned to this consumer"
            )
        return reader

    async def _seek_to(self, begin: int, partitions: tuple[TopicPartition, ...]) -> None:
        fetcher = self._usable()
        readers = [self._reader(partition) for partition in partitions or fetcher.readers]
        for reader in readers:
            fetcher.seek(reader, None, begin=begin)
        self.handed_over.drop(reader.topic_partition for reader in readers)
        await self._wait_for_positions(readers)

    async def _wait_for_positions(
        self, readers: Iterable[PartitionReader]
    ) -> Iterable[PartitionReader]:
        fetcher = self._usable()
        timeout_ms = self._settings.request_timeout_ms
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                for reader in readers:
                    while reader.position is None:
                        if reader.blocked_by is not None:
                            raise reader.blocked_by.with_traceback(None)
                        await fetcher.wait_for_news()
                        self._usable()
        except TimeoutError:
            missing = ", ".join(
                str(each.topic_partition) for each in readers if each.position is None
            )
            raise RequestTimedOutError(
                f"no leader told a position of {missing} within {timeout_ms / 1000:g} s; check "
                "that the brokers that lead these partitions are reachable"
            ) from None
        return readers

    async def _find(self, questions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        self._usable()
        assert self._session is not None
        found = await self._session.lookup.find(questions)
        return {partition: answer.offset for partition, answer in found.items()}


_A_WHILE_MS = 60_000
"""How long ``batches`` waits at a time; it waits again if nothing has come."""


def _now_ms() -> float:
    return time.monotonic() * 1000
