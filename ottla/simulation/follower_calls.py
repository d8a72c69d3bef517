"""The follower's side: one call to each broker that leads something copied here.

A call is dialled when the first partition needs it and dialled again when it ends, for as long as
one needs it. Once a second it says that it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ottla.model.errors import OffsetOutOfRangeError
from ottla.model.ids import BrokerEpoch, BrokerId, Offset, TopicPartition
from ottla.record.batch import crc_matches, split_batches
from ottla.replication.follower import (
    Acknowledge,
    Begin,
    LeaderDiverged,
    LeaderOutOfRange,
    LeaderRefused,
    LeaderSent,
    LinkClosed,
    LinkOpened,
)
from ottla.simulation.conversation import (
    FOLLOW,
    Acknowledged,
    Alive,
    FollowedPartition,
    FollowerIdentity,
    FollowPartition,
)
from ottla.simulation.network import LinkEnd, Network
from ottla.simulation.process import Process
from ottla.simulation.replica import Replica

ALIVE_INTERVAL_MS: Final = 1_000
REDIAL_MIN_MS: Final = 30
REDIAL_MAX_MS: Final = 200


class FollowerCalls:
    """All follow calls that a broker makes."""

    def __init__(
        self,
        process: Process,
        network: Network,
        replicas: Mapping[TopicPartition, Replica],
        broker_epoch: Callable[[], BrokerEpoch],
    ) -> None:
        """Copy for what is in ``replicas``, which may change."""
        self._process = process
        self._network = network
        self._replicas = replicas
        self._broker_epoch = broker_epoch
        self._calls: dict[BrokerId, LinkEnd | None] = {}
        """``None``: being dialled."""

    def is_open(self, leader: BrokerId) -> bool:
        """Whether there is a call to this broker."""
        return self._calls.get(leader) is not None

    def need(self, leader: BrokerId) -> None:
        """Have a call to this broker, or see to it that there will be one."""
        if leader not in self._calls:
            self._calls[leader] = None
            self._dial(leader)

    def begin(self, replica: Replica, effect: Begin) -> None:
        """Ask a leader for a partition."""
        self._send(
            replica,
            FollowPartition(
                topic_partition=replica.topic_partition,
                generation=effect.generation,
                leader_epoch=effect.leader_epoch,
                fetch_offset=effect.fetch_offset,
                last_fetched_epoch=effect.last_fetched_epoch,
                durable_end_offset=effect.durable_end_offset,
            ),
        )

    def acknowledge(self, replica: Replica, effect: Acknowledge) -> None:
        """Tell a leader what we cannot lose."""
        self._send(
            replica, Acknowledged(replica.topic_partition, effect.generation, effect.end_offset)
        )

    def _send(self, replica: Replica, message: object) -> None:
        assert replica.followed is not None, replica
        end = self._calls.get(replica.followed)
        if end is not None:
            end.send(message)

    # --- Calls ---

    def _dial(self, leader: BrokerId) -> None:
        if not self._of(leader):
            del self._calls[leader]
            return
        self._network.dial(
            self._process,
            leader,
            service=FOLLOW,
            hello=FollowerIdentity(BrokerId(self._process.number), self._broker_epoch()),
            opened=lambda end: self._opened(leader, end),
            failed=lambda: self._redial(leader),
        )

    def _redial(self, leader: BrokerId) -> None:
        delay_ms = self._process.world.between(REDIAL_MIN_MS, REDIAL_MAX_MS)
        self._process.after(delay_ms, "redial", lambda: self._dial(leader))

    def _opened(self, leader: BrokerId, end: LinkEnd) -> None:
        self._calls[leader] = end
        end.on_message = lambda message: self._receive(leader, end, message)
        end.on_end = lambda: self._ended(leader)
        for replica in self._of(leader):
            replica.step_follower(LinkOpened())
        self._process.after(ALIVE_INTERVAL_MS, "alive", lambda: self._alive(leader, end))

    def _ended(self, leader: BrokerId) -> None:
        self._calls[leader] = None
        for replica in self._of(leader):
            replica.step_follower(LinkClosed())
        self._redial(leader)

    def _alive(self, leader: BrokerId, end: LinkEnd) -> None:
        if self._calls.get(leader) is end:
            end.send(Alive())
            self._process.after(ALIVE_INTERVAL_MS, "alive", lambda: self._alive(leader, end))

    def _of(self, leader: BrokerId) -> list[Replica]:
        return [replica for replica in self._replicas.values() if replica.followed == leader]

    # --- What leaders say ---

    def _receive(self, leader: BrokerId, end: LinkEnd, message: object) -> None:
        assert isinstance(message, FollowedPartition)
        replica = self._replicas.get(message.topic_partition)
        if replica is None or replica.followed != leader or self._calls.get(leader) is not end:
            return
        if message.diverging is not None:
            epoch, end_offset = message.diverging
            replica.step_follower(
                LeaderDiverged(generation=message.generation, epoch=epoch, end_offset=end_offset)
            )
        elif isinstance(message.error, OffsetOutOfRangeError):
            replica.step_follower(
                LeaderOutOfRange(
                    generation=message.generation, log_start_offset=message.log_start_offset
                )
            )
        elif message.error is not None:
            replica.step_follower(LeaderRefused(generation=message.generation))
        else:
            self._take(replica, message)

    def _take(self, replica: Replica, message: FollowedPartition) -> None:
        batches = split_batches(message.records)
        assert all(map(crc_matches, batches)), message
        first = last = None
        if batches:
            first = Offset(batches[0].header.base_offset)
            last = Offset(batches[-1].header.next_offset)
        replica.step_follower(
            LeaderSent(
                generation=message.generation,
                first_offset=first,
                end_offset=last,
                high_watermark=message.high_watermark,
                log_start_offset=message.log_start_offset,
            ),
            batches,
        )
