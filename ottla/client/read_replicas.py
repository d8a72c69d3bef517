"""Which broker a partition is read from: its leader, or a follower in the reader's rack (KIP-392).

A leader that is told the rack of a reader names, beside records, the follower that the reader had
better ask. The name counts

    * while who gave it leads: a new leader is asked first, and gives a name of its own;
    * while metadata has the follower alive and in sync;
    * for ``metadata_max_age_ms``, then the leader is asked again: there may be a nearer one now;
    * until the follower fails the reader.

A leader does not know what is between a reader and a follower. One that failed a reader is not
asked by it again for a while, although the leader goes on naming it: the leader serves meanwhile.

No clock and no network: times are milliseconds of the caller's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ottla.client.cluster_picture import ClusterPicture, PartitionLeader
from ottla.model.ids import TopicPartition

DISTRUST_MS: Final = 10_000
"""How long a follower that failed a reader is not asked by it again: long enough that trying costs
nothing to speak of, short against how long a broker is away."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A follower that a leader named."""

    broker_id: int
    leader: PartitionLeader
    until_ms: float


class ReadReplicas:
    """What leaders said, for each partition that is read."""

    def __init__(self, *, lease_ms: float) -> None:
        """Believe a name for so long."""
        self._lease_ms = lease_ms
        self._names: dict[TopicPartition, _Name] = {}
        self._distrusted: dict[TopicPartition, tuple[int, float]] = {}
        # Who failed, and until when that counts.

    def named(
        self,
        partition: TopicPartition,
        broker_id: int | None,
        leader: PartitionLeader,
        now_ms: float,
    ) -> None:
        """Take over what ``leader`` says; ``None``: nobody but itself."""
        distrusted, until_ms = self._distrusted.get(partition, (None, 0.0))
        if broker_id is None or (broker_id == distrusted and now_ms < until_ms):
            self._names.pop(partition, None)
            return
        self._names[partition] = _Name(broker_id, leader, now_ms + self._lease_ms)

    def follower(
        self, partition: TopicPartition, picture: ClusterPicture, now_ms: float
    ) -> int | None:
        """Return the follower to read a partition from; ``None``: read from its leader."""
        name = self._names.get(partition)
        if (
            name is None
            or now_ms >= name.until_ms
            or name.leader != picture.leader_of(partition)
            or name.broker_id == name.leader.broker_id
            or name.broker_id not in picture.brokers
            or name.broker_id not in picture.in_sync_replicas(partition)
        ):
            return None
        return name.broker_id

    def left_ms(self, partition: TopicPartition, now_ms: float) -> float:
        """How long the name of a partition counts yet; 0 without one."""
        name = self._names.get(partition)
        return 0.0 if name is None else max(0.0, name.until_ms - now_ms)

    def dropped(self, partition: TopicPartition) -> None:
        """The follower does not belong to the leader that is known: ask the leader."""
        self._names.pop(partition, None)

    def failed(self, partition: TopicPartition, broker_id: int, now_ms: float) -> None:
        """The follower could not be read from: ask the leader, and do not come back soon."""
        self._names.pop(partition, None)
        self._distrusted[partition] = (broker_id, now_ms + DISTRUST_MS)

    def forget(self, partition: TopicPartition) -> None:
        """The partition is read no more."""
        self._names.pop(partition, None)
        self._distrusted.pop(partition, None)
