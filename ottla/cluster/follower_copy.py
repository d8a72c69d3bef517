"""One partition in a follower's stream: how far it has been sent, and how far acknowledged.

    log start      acknowledged        sent to          log end offset
    v              v                   v                v
    [ ............ | ... under way ... | ... to send ... ]
                   on the follower's disk

A copy begins when the logs of both sides were compared and were found to agree. What the follower
acknowledges becomes an input of the partition's leader, in the name of the follower; so does every
sign of life, with the last acknowledgement. What the leader refuses ends the copy.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from ottla.cluster.log_comparison import divergence
from ottla.cluster.partition import Partition
from ottla.model.errors import InvalidRequestError, OffsetOutOfRangeError, OttlaError
from ottla.model.ids import NO_OFFSET, LeaderEpoch, Offset
from ottla.replication.leader import FollowerFetched, IsrMember
from ottla.storage.leader_epochs import EpochEnd
from ottla.storage.segment_reader import LogRead
from ottla.v1.replication_pb2 import FollowedPartition, FollowPartition, FollowResponse
from ottla.v1.types_pb2 import Error

MESSAGE_CHARACTERS_MAX: Final = 500
"""Of one error: it may be sent for thousands of partitions at once."""


class FollowerCopy:
    """See the module."""

    __slots__ = (
        "_acknowledged",
        "_follower",
        "_leader_epoch",
        "_next_offset",
        "_sent_high_watermark",
        "_sent_log_start",
        "cold_read",
        "generation",
        "handle",
        "is_behind",
        "is_queued",
        "is_removed",
        "partition",
    )

    def __init__(self, partition: Partition, asked: FollowPartition, follower: IsrMember) -> None:
        """Prepare to copy what ``follower`` has asked for; :meth:`begin` does the rest."""
        self.partition = partition
        self.handle = asked.handle
        self.generation = asked.generation
        self.is_queued = False
        """Whether it waits for its turn, or for the disk on its behalf."""
        self.is_removed = False
        """Whether nothing more is to be sent of it."""
        self.is_behind = asked.catching_up
        """Whether its follower has not had everything since it began."""
        self.cold_read: asyncio.Future[LogRead | None] | None = None
        """What follows, being read from the disk, or read."""
        self._follower = follower
        self._leader_epoch = LeaderEpoch(asked.leader_epoch)
        self._next_offset = Offset(asked.fetch_offset)
        self._acknowledged = Offset(
            asked.fetch_offset
            if partition.settings.log.write_caching
            else min(asked.fetch_offset, asked.durable_end_offset)
        )
        self._sent_high_watermark = NO_OFFSET
        self._sent_log_start = NO_OFFSET

    def __repr__(self) -> str:
        return (
            f"<FollowerCopy of {self.partition.topic_partition} to broker "
            f"{self._follower.broker_id}: sent to {self._next_offset}, acknowledged to "
            f"{self._acknowledged}>"
        )

    # --- What the follower says ---

    def begin(self, last_fetched_epoch: LeaderEpoch | None) -> EpochEnd | None:
        """Compare the logs, and let the leader know of the follower if they agree.

        Returns where they part if they do not; nothing can be copied then.

        Raises:
            NotLeaderOrFollowerError, FencedLeaderEpochError, UnknownLeaderEpochError: the follower
                is wrong about who leads, or we are.
            OffsetOutOfRangeError: the follower has to begin at our log start.
            StaleBrokerEpochError: the follower has been restarted since.
            InvalidRequestError: the offsets contradict each other.
        """
        self.partition.check_leader_epoch(self._leader_epoch)
        if self._acknowledged < 0:
            raise InvalidRequestError(
                f"a follower has {self._acknowledged} as its durable end of "
                f"{self.partition.topic_partition}; it is 0 or more"
            )
        parts_at = divergence(
            self.partition.log,
            fetch_offset=self._next_offset,
            last_fetched_epoch=last_fetched_epoch,
        )
        if parts_at is None:
            self.fetched()
        return parts_at

    def acknowledge(self, end_offset: int) -> None:
        """Hear that the follower cannot lose what is below ``end_offset``; raises as `fetched`."""
        if end_offset > self._next_offset:
            raise OffsetOutOfRangeError(
                f"a follower acknowledges {self.partition.topic_partition} up to {end_offset}, and "
                f"has been sent what is below {self._next_offset}"
            )
        self._acknowledged = max(self._acknowledged, Offset(end_offset))
        self.fetched()

    def fetched(self) -> None:
        """Tell the leader that the follower lives, and has what it acknowledged last.

        Raises what :meth:`~ottla.replication.leader.PartitionLeader.step` does, and
        :exc:`NotLeaderOrFollowerError`.
        """
        self.partition.step_leader(
            FollowerFetched(
                replica=self._follower.broker_id,
                broker_epoch=self._follower.broker_epoch,
                leader_epoch=self._leader_epoch,
                fetch_offset=self._acknowledged,
            )
        )

    # --- What is to be sent ---

    @property
    def has_more(self) -> bool:
        """Whether the log has records that were not sent."""
        return self.partition.log.log_end_offset > self._next_offset

    @property
    def has_news(self) -> bool:
        """Whether the high watermark or the log start is not what was sent last."""
        partition = self.partition
        return partition.is_leader and (
            partition.high_watermark != self._sent_high_watermark
            or partition.log.log_start_offset != self._sent_log_start
        )

    def read(self, *, max_bytes: int, minimum_one: bool) -> LogRead | None:
        """Read what follows; ``None``: it has to be read from the disk first.

        Raises:
            NotLeaderOrFollowerError, FencedLeaderEpochError: we lead no more, or in another epoch.
            OffsetOutOfRangeError: what follows was deleted.
            StorageError: the disk failed.
        """
        self.partition.check_leader_epoch(self._leader_epoch)
        if self.cold_read is not None:
            read = self.cold_read.result()
            assert read is not None, "a read that may wait does not give up"
            if len(read.records) > max_bytes and not minimum_one:
                return LogRead(
                    records=b"", base_offset=self._next_offset, next_offset=self._next_offset
                )
            self.cold_read = None
            return read
        return self.partition.log.read(
            self._next_offset,
            max_bytes=max_bytes,
            end_offset=self.partition.log.log_end_offset,
            minimum_one=minimum_one,
            cached_only=True,
        )

    def read_cold(self, *, max_bytes: int) -> LogRead | None:
        """Read what follows, and wait for the disk; on another thread. Raises as :meth:`read`."""
        log = self.partition.log
        return log.read(self._next_offset, max_bytes=max_bytes, end_offset=log.log_end_offset)

    def put(self, response: FollowResponse, read: LogRead | None) -> None:
        """Add to ``response`` what was read, or the offsets alone."""
        partition = self.partition
        self._sent_high_watermark = partition.high_watermark
        self._sent_log_start = partition.log.log_start_offset
        answer = response.partitions.add(
            handle=self.handle,
            generation=self.generation,
            high_watermark=self._sent_high_watermark,
            log_start_offset=self._sent_log_start,
        )
        if read is not None:
            answer.records = bytes(read.records)
            self._next_offset = Offset(read.next_offset)


def refused(handle: int, generation: int, error: OttlaError) -> FollowedPartition:
    """Answer that nothing, or nothing more, is copied, and why."""
    return FollowedPartition(
        handle=handle,
        generation=generation,
        error=Error(
            code=cast("Error.Code", error.code),
            message=str(error)[:MESSAGE_CHARACTERS_MAX],
            retriable=error.retriable,
        ),
    )
