"""The gRPC client library: Producer, Consumer, Admin.

For asyncio; :mod:`ottla.client.blocking` has the same three for programs without an event loop.

    from ottla.client import Consumer, Producer

Names are imported when they are first used, so that ``import ottla.client`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.client.admin import Admin
    from ottla.client.admin_groups import GroupDescription, GroupListing, GroupMemberDescription
    from ottla.client.admin_values import (
        BrokerAddress,
        BrokerDescription,
        ClusterDescription,
        ConfigChange,
        ConfigEntry,
        ConfigOperation,
        ConfigResource,
        ConfigResourceType,
        ConfigSource,
        CreatedTopic,
        HostedPartition,
        LogDirectory,
        MetadataChange,
        NewTopic,
        PartitionDescription,
        PlannedMove,
        QuorumDescription,
        QuorumNode,
        TopicDescription,
    )
    from ottla.client.consumer import Consumer
    from ottla.client.consumer_record import ConsumerRecord, OffsetAndTimestamp
    from ottla.client.delivery import RecordHandle, RecordMetadata
    from ottla.client.errors import (
        AccessDeniedError,
        BrokerUnavailableError,
        BufferFullError,
        ClientClosedError,
        DeliveryTimeoutError,
        DeserializationError,
        LogTruncatedError,
        NoBrokersAvailableError,
        NoOffsetError,
        PartialFailureError,
        RebalanceListenerError,
        TopicNotLoadedError,
    )
    from ottla.client.group_offsets import OffsetAndMetadata
    from ottla.client.offset_lookup import EARLIEST, LATEST, MAX_TIMESTAMP, OffsetFound
    from ottla.client.producer import Producer
    from ottla.client.rebalance_listener import RebalanceListener
    from ottla.model.ids import TopicPartition

_HOMES = {
    "ottla.client.admin": ("Admin",),
    "ottla.client.admin_groups": ("GroupDescription", "GroupListing", "GroupMemberDescription"),
    "ottla.client.admin_values": (
        "BrokerAddress",
        "BrokerDescription",
        "ClusterDescription",
        "ConfigChange",
        "ConfigEntry",
        "ConfigOperation",
        "ConfigResource",
        "ConfigResourceType",
        "ConfigSource",
        "CreatedTopic",
        "HostedPartition",
        "LogDirectory",
        "MetadataChange",
        "NewTopic",
        "PartitionDescription",
        "PlannedMove",
        "QuorumDescription",
        "QuorumNode",
        "TopicDescription",
    ),
    "ottla.client.consumer": ("Consumer",),
    "ottla.client.consumer_record": ("ConsumerRecord", "OffsetAndTimestamp"),
    "ottla.client.delivery": ("RecordHandle", "RecordMetadata"),
    "ottla.client.errors": (
        "AccessDeniedError",
        "BrokerUnavailableError",
        "BufferFullError",
        "ClientClosedError",
        "DeliveryTimeoutError",
        "DeserializationError",
        "LogTruncatedError",
        "NoBrokersAvailableError",
        "NoOffsetError",
        "PartialFailureError",
        "RebalanceListenerError",
        "TopicNotLoadedError",
    ),
    "ottla.client.group_offsets": ("OffsetAndMetadata",),
    "ottla.client.offset_lookup": ("EARLIEST", "LATEST", "MAX_TIMESTAMP", "OffsetFound"),
    "ottla.client.producer": ("Producer",),
    "ottla.client.rebalance_listener": ("RebalanceListener",),
    "ottla.model.ids": ("TopicPartition",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "EARLIEST",
    "LATEST",
    "MAX_TIMESTAMP",
    "AccessDeniedError",
    "Admin",
    "BrokerAddress",
    "BrokerDescription",
    "BrokerUnavailableError",
    "BufferFullError",
    "ClientClosedError",
    "ClusterDescription",
    "ConfigChange",
    "ConfigEntry",
    "ConfigOperation",
    "ConfigResource",
    "ConfigResourceType",
    "ConfigSource",
    "Consumer",
    "ConsumerRecord",
    "CreatedTopic",
    "DeliveryTimeoutError",
    "DeserializationError",
    "GroupDescription",
    "GroupListing",
    "GroupMemberDescription",
    "HostedPartition",
    "LogDirectory",
    "LogTruncatedError",
    "MetadataChange",
    "NewTopic",
    "NoBrokersAvailableError",
    "NoOffsetError",
    "OffsetAndMetadata",
    "OffsetAndTimestamp",
    "OffsetFound",
    "PartialFailureError",
    "PartitionDescription",
    "PlannedMove",
    "Producer",
    "QuorumDescription",
    "QuorumNode",
    "RebalanceListener",
    "RebalanceListenerError",
    "RecordHandle",
    "RecordMetadata",
    "TopicDescription",
    "TopicNotLoadedError",
    "TopicPartition",
]


def __getattr__(name: str) -> object:
    """Import a public name from its home."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
