"""Which replica a reader is sent to: one in its rack, so that records cross racks once (KIP-392).

The leader decides, for it alone knows who is in sync and how far. A reader in the leader's own rack
stays, and so does one in whose rack nobody is in sync and has what it asks for. Of several the one
that is furthest is named.
"""

from __future__ import annotations

from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.partition import Partition
from ottla.model.ids import BrokerId, Offset


class ReadReplicas:
    """Knows the racks of the brokers."""

    def __init__(self, metadata: MetadataCache, *, broker_id: BrokerId) -> None:
        """Decide for the partitions that this broker leads."""
        self._metadata = metadata
        self._broker_id = broker_id

    def preferred(self, partition: Partition, *, rack: str, offset: Offset) -> BrokerId | None:
        """Return where a reader in ``rack`` is to read from ``offset`` on; ``None``: here."""
        if not rack:
            return None
        brokers = self._metadata.image.brokers
        me = brokers.get(self._broker_id)
        if me is None or me.rack == rack:
            return None
        nearby = [
            broker_id
            for broker_id in sorted(partition.leader.isr - {self._broker_id})
            if broker_id in brokers
            and brokers[broker_id].rack == rack
            and not brokers[broker_id].fenced
            and not brokers[broker_id].shutting_down
        ]
        if not nearby:
            return None
        ends = partition.leader.statistics().follower_end_offsets
        best = max(nearby, key=lambda broker_id: _end(ends.get(broker_id)))
        return best if _end(ends.get(best)) >= offset else None


def _end(end_offset: Offset | None) -> int:
    return -1 if end_offset is None else end_offset
