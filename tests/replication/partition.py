"""A leader of one partition, spoken to in plain numbers."""

from __future__ import annotations

from collections.abc import Iterable

from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch
from ottla.replication.leader import (
    AdvanceHighWatermark,
    Effect,
    FollowerFetched,
    Input,
    IsrCommitted,
    IsrMember,
    IsrRefused,
    LocalAppended,
    LocalDurable,
    PartitionLeader,
    ProposeIsr,
    ReplicasChanged,
    ServingChanged,
    Tick,
)

LAG_TIME_MAX_MS = 10_000
ALL = -1


class Partition:
    """A leader on broker 1, whose epoch is 11 (broker n has epoch n1), in plain numbers."""

    def __init__(
        self,
        *,
        isr: set[int] | None = None,
        replicas: set[int] | None = None,
        log_end: int = 0,
        durable_end: int | None = None,
        high_watermark: int = 0,
        min_insync_replicas: int = 1,
        write_caching: bool = False,
    ) -> None:
        self.now_ms = 0
        self.partition_epoch = 0
        replicas = replicas or {1, 2, 3}
        self.leader = PartitionLeader(
            broker=member(1),
            replicas=brokers(*replicas),
            isr=brokers(*(isr or replicas)),
            serving=brokers(*replicas),
            leader_epoch=LeaderEpoch(7),
            partition_epoch=PartitionEpoch(0),
            log_end_offset=Offset(log_end),
            durable_end_offset=Offset(log_end if durable_end is None else durable_end),
            high_watermark=Offset(high_watermark),
            min_insync_replicas=min_insync_replicas,
            write_caching=write_caching,
            replica_lag_time_max_ms=LAG_TIME_MAX_MS,
            now_ms=0,
        )

    def step(self, event: Input) -> list[Effect]:
        return self.leader.step(event, now_ms=self.now_ms)

    def append(self, end: int) -> list[Effect]:
        return self.step(LocalAppended(Offset(end)))

    def sync(self, end: int) -> list[Effect]:
        return self.step(LocalDurable(Offset(end)))

    def write(self, end: int) -> list[Effect]:
        """Append and sync."""
        return self.append(end) + self.sync(end)

    def fetch(
        self, replica: int, at: int, *, epoch: int = 7, broker_epoch: int | None = None
    ) -> list[Effect]:
        return self.step(
            FollowerFetched(
                replica=BrokerId(replica),
                broker_epoch=BrokerEpoch(broker_epoch or replica * 10 + 1),
                leader_epoch=LeaderEpoch(epoch),
                fetch_offset=Offset(at),
            )
        )

    def commit_isr(self, *isr: int) -> list[Effect]:
        self.partition_epoch += 1
        return self.step(
            IsrCommitted(isr=brokers(*isr), partition_epoch=PartitionEpoch(self.partition_epoch))
        )

    def refuse(self, number: int) -> list[Effect]:
        return self.step(IsrRefused(number))

    def serving(self, *serving: int) -> list[Effect]:
        return self.step(ServingChanged(brokers(*serving)))

    def replicas(self, *replicas: int, adding: Iterable[int] = ()) -> list[Effect]:
        return self.step(ReplicasChanged(brokers(*replicas), brokers(*adding)))

    def wait_ms(self, duration_ms: int) -> list[Effect]:
        self.now_ms += duration_ms
        return self.step(Tick())


def member(broker: int) -> IsrMember:
    return IsrMember(BrokerId(broker), BrokerEpoch(broker * 10 + 1))


def brokers(*ids: int) -> frozenset[BrokerId]:
    return frozenset(BrokerId(i) for i in ids)


def committed(offset: int) -> AdvanceHighWatermark:
    return AdvanceHighWatermark(Offset(offset))


def propose(number: int, *members: int | IsrMember, epoch: int = 0) -> ProposeIsr:
    return ProposeIsr(
        number=number,
        members=tuple(m if isinstance(m, IsrMember) else member(m) for m in members),
        leader_epoch=LeaderEpoch(7),
        partition_epoch=PartitionEpoch(epoch),
    )


def never_heard_of(broker: int) -> IsrMember:
    return IsrMember(BrokerId(broker), BrokerEpoch(-1))
