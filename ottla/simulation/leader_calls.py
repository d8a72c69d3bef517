"""The leader's side of the follow calls: batches go out as they are appended.

A follower has one call to each broker that leads something it copies. For each partition of a call
this side knows how far it has sent. What it may send beyond what was acknowledged is bounded, as
credit bounds it in a broker. Every begin, acknowledgement and sign of life becomes an input of the
partition's machine; what that refuses ends the copying of that partition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ottla.cluster.log_comparison import divergence
from ottla.model.errors import (
    FencedLeaderEpochError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    OttlaError,
    UnknownLeaderEpochError,
)
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition
from ottla.replication.leader import FollowerFetched
from ottla.simulation.conversation import (
    Acknowledged,
    Alive,
    EndPartition,
    FollowedPartition,
    FollowerIdentity,
    FollowPartition,
)
from ottla.simulation.network import LinkEnd
from ottla.simulation.process import Process
from ottla.simulation.replica import Replica

MESSAGE_BYTES_MAX: Final = 600
"""A few tiny batches, so that catching up takes several messages."""

UNACKNOWLEDGED_RECORDS_MAX: Final = 60


@dataclass(slots=True)
class _Copying:
    """How far one follower's copy of one partition is."""

    generation: int
    leader_epoch: LeaderEpoch
    sent_to: Offset
    acknowledged: Offset
    told: tuple[Offset, Offset]
    """The high watermark and the log start that were sent last."""


class _Call:
    """One follow call."""

    def __init__(self, end: LinkEnd, identity: FollowerIdentity) -> None:
        self.end = end
        self.identity = identity
        self.copies: dict[TopicPartition, _Copying] = {}
        self.is_over = False


class LeaderCalls:
    """All follow calls that a broker serves."""

    def __init__(self, process: Process, replicas: Mapping[TopicPartition, Replica]) -> None:
        """Serve what is in ``replicas``, which may change."""
        self._process = process
        self._replicas = replicas
        self._calls: list[_Call] = []
        self._changed: set[TopicPartition] = set()

    def accept(self, end: LinkEnd, identity: FollowerIdentity) -> bool:
        """Serve another call."""
        call = _Call(end, identity)
        # A follower has one call to us: a new one means that the former is over.
        for former in self._calls:
            if former.identity.broker_id == identity.broker_id:
                former.copies.clear()
                former.is_over = True
        self._calls.append(call)
        end.on_message = lambda message: self._receive(call, message)
        end.on_end = lambda: self._calls.remove(call)
        return True

    def records_changed(self, replica: Replica) -> None:
        """Send what is new to everybody who copies this partition."""
        if not self._calls:
            return
        if not self._changed:
            self._process.after(0, "push", self._push_changed)
        self._changed.add(replica.topic_partition)

    # --- What followers say ---

    def _receive(self, call: _Call, message: object) -> None:
        if call.is_over:
            return
        match message:
            case FollowPartition():
                self._begin(call, message)
            case Acknowledged():
                copying = call.copies.get(message.topic_partition)
                if copying is not None and copying.generation == message.generation:
                    copying.acknowledged = message.end_offset
                    if self._fetched(call, message.topic_partition, copying):
                        self._push(call, message.topic_partition, copying)
            case Alive():
                for topic_partition, copying in list(call.copies.items()):
                    self._fetched(call, topic_partition, copying)
            case EndPartition():
                call.copies.pop(message.topic_partition, None)
            case _:
                raise AssertionError(message)

    def _begin(self, call: _Call, begin: FollowPartition) -> None:
        topic_partition = begin.topic_partition
        call.copies.pop(topic_partition, None)
        replica = self._replicas.get(topic_partition)
        try:
            if replica is None:
                raise NotLeaderOrFollowerError(f"{topic_partition} is not here")
            diverging = self._compared(replica, begin)
        except OttlaError as error:
            self._refuse(call, topic_partition, begin.generation, error)
            return
        if diverging is not None:
            answer = FollowedPartition(
                topic_partition=topic_partition, generation=begin.generation, diverging=diverging
            )
            call.end.send(answer)
            return
        copying = _Copying(
            generation=begin.generation,
            leader_epoch=begin.leader_epoch,
            sent_to=begin.fetch_offset,
            acknowledged=begin.durable_end_offset,
            told=(Offset(-1), Offset(-1)),
        )
        call.copies[topic_partition] = copying
        if self._fetched(call, topic_partition, copying):
            self._push(call, topic_partition, copying)

    def _fetched(self, call: _Call, topic_partition: TopicPartition, copying: _Copying) -> bool:
        """Let the machine know how far the follower is; return whether it goes on."""
        replica = self._replicas.get(topic_partition)
        try:
            if replica is None:
                raise NotLeaderOrFollowerError(f"{topic_partition} is not here")
            replica.step_leader(
                FollowerFetched(
                    replica=call.identity.broker_id,
                    broker_epoch=call.identity.broker_epoch,
                    leader_epoch=copying.leader_epoch,
                    fetch_offset=copying.acknowledged,
                )
            )
        except OttlaError as error:
            call.copies.pop(topic_partition, None)
            self._refuse(call, topic_partition, copying.generation, error)
            return False
        return True

    # --- What this side says ---

    def _refuse(
        self, call: _Call, topic_partition: TopicPartition, generation: int, error: OttlaError
    ) -> None:
        replica = self._replicas.get(topic_partition)
        call.end.send(
            FollowedPartition(
                topic_partition=topic_partition,
                generation=generation,
                error=error,
                log_start_offset=Offset(0) if replica is None else replica.log.log_start_offset,
            )
        )

    def _push_changed(self) -> None:
        changed, self._changed = self._changed, set()
        for call in self._calls:
            for topic_partition, copying in list(call.copies.items()):
                if topic_partition in changed:
                    self._push(call, topic_partition, copying)

    def _push(self, call: _Call, topic_partition: TopicPartition, copying: _Copying) -> None:
        replica = self._replicas.get(topic_partition)
        leader = None if replica is None else replica.leader
        if (
            replica is None
            or leader is None
            or not self.epochs_agree(leader.leader_epoch, copying.leader_epoch)
        ):
            call.copies.pop(topic_partition, None)
            error = NotLeaderOrFollowerError(f"{topic_partition} is led elsewhere")
            self._refuse(call, topic_partition, copying.generation, error)
            return
        log = replica.log
        if copying.sent_to < log.log_start_offset:
            call.copies.pop(topic_partition)
            out_of_range = OffsetOutOfRangeError(f"{topic_partition} begins later")
            self._refuse(call, topic_partition, copying.generation, out_of_range)
            return
        while True:
            records = b""
            if copying.sent_to - copying.acknowledged < UNACKNOWLEDGED_RECORDS_MAX:
                read = log.read(
                    copying.sent_to, max_bytes=MESSAGE_BYTES_MAX, end_offset=log.log_end_offset
                )
                assert read is not None
                records = bytes(read.records)
                copying.sent_to = Offset(read.next_offset) if records else copying.sent_to
            news = (leader.high_watermark, log.log_start_offset)
            if not records and news == copying.told:
                return
            copying.told = news
            call.end.send(
                FollowedPartition(
                    topic_partition=topic_partition,
                    generation=copying.generation,
                    records=records,
                    high_watermark=leader.high_watermark,
                    log_start_offset=log.log_start_offset,
                )
            )

    # --- Comparing ---

    def epochs_agree(self, ours: LeaderEpoch, theirs: LeaderEpoch) -> bool:
        """Whether a follower that follows in an epoch follows us."""
        return ours == theirs

    def _compared(
        self, replica: Replica, begin: FollowPartition
    ) -> tuple[LeaderEpoch, Offset] | None:
        """Compare the follower's log with ours; return where they part, if they do (KIP-320).

        Raises what the follower is refused with.
        """
        leader = replica.leader
        if leader is None:
            raise NotLeaderOrFollowerError(f"{replica.topic_partition} is led elsewhere")
        if not self.epochs_agree(leader.leader_epoch, begin.leader_epoch):
            older = begin.leader_epoch < leader.leader_epoch
            error = FencedLeaderEpochError if older else UnknownLeaderEpochError
            raise error(f"{replica.topic_partition}: {begin}")
        found = divergence(
            replica.log,
            fetch_offset=begin.fetch_offset,
            last_fetched_epoch=begin.last_fetched_epoch,
        )
        return None if found is None else (found.epoch, found.end_offset)
