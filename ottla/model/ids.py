"""The nouns of the log, one type each.

An offset, an epoch and a broker id are all integers; giving each its own type
lets mypy refuse ``fetch(leader_epoch, offset)`` with the arguments swapped.

Positions follow Kafka: an *end* offset is exclusive, so the log end offset is
the offset the next record will take, and a record is committed when its offset
is **below** the high watermark.
"""

from __future__ import annotations

from typing import NamedTuple, NewType
from uuid import UUID

BrokerId = NewType("BrokerId", int)
BrokerEpoch = NewType("BrokerEpoch", int)
ControllerEpoch = NewType("ControllerEpoch", int)
LeaderEpoch = NewType("LeaderEpoch", int)
MetadataOffset = NewType("MetadataOffset", int)
Offset = NewType("Offset", int)
PartitionEpoch = NewType("PartitionEpoch", int)
ProducerEpoch = NewType("ProducerEpoch", int)
ProducerId = NewType("ProducerId", int)
TopicId = NewType("TopicId", UUID)

NO_BROKER = BrokerId(-1)
NO_CONTROLLER_EPOCH = ControllerEpoch(0)
NO_METADATA = MetadataOffset(0)
NO_PRODUCER_ID = ProducerId(-1)
NO_OFFSET = Offset(-1)
NO_TIMESTAMP_MS = -1


class TopicPartition(NamedTuple):
    """One partition of one topic, written ``orders-0``."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"
