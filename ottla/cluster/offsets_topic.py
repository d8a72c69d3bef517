"""The topic ``__consumer_offsets``, which the first client of a group brings into being.

Its records are never deleted by age or size: a group's offsets count until its coordinator deletes
them, which keeps the logs short by itself. A commit that was acknowledged is on the disks of the
in-sync replicas, whatever the cluster's default for other topics is.

As many replicas as there are brokers, up to ``offsets.topic.replication.factor``. A cluster that is
just starting would have too few for ever, so a voter that nobody has seen yet is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.services import Result, TopicCreated, TopicToCreate
from ottla.model.errors import (
    CoordinatorNotAvailableError,
    OttlaError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
)
from ottla.model.image import ClusterImage
from ottla.model.limits import BATCH_BYTES_MAX
from ottla.model.topic_names import CONSUMER_OFFSETS
from ottla.runtime.logging import Event, Severity, emit

OFFSETS_TOPIC_CREATED = Event("groups.offsets_topic_created")
OFFSETS_TOPIC_NOT_CREATED = Event("groups.offsets_topic_not_created", Severity.WARNING)

CREATE_TIMEOUT_MS: Final = 10_000
"""Less than any client waits for an answer."""

BROKERS_WAIT_MS: Final = 5_000
"""For voters that have not registered yet; a broker starts in less."""

_CONFIGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "compression.type": "producer",
        # What a single record may be is the coordinator's to say.
        "max.message.bytes": str(BATCH_BYTES_MAX),
        "write.caching": "false",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetsTopicConfig:
    """How the topic is made."""

    partitions: int
    """``offsets.topic.num.partitions``."""
    replication_factor: int
    """``offsets.topic.replication.factor``, if there are so many brokers."""
    segment_bytes: int
    """``offsets.topic.segment.bytes``."""
    voters: int = 1
    """How many brokers there will be at least, once all have started."""


class CreatesTopics(Protocol):
    """What is wanted of the service for topics."""

    async def create_topics(
        self, topics: Sequence[TopicToCreate], *, validate_only: bool, timeout_ms: int
    ) -> list[Result[TopicCreated]]:
        """Create each, and wait until it can be used."""


class OffsetsTopic:
    """Makes the topic once."""

    def __init__(
        self, topics: CreatesTopics, metadata: MetadataCache, config: OffsetsTopicConfig
    ) -> None:
        self._topics = topics
        self._metadata = metadata
        self._config = config
        self._one_at_a_time = asyncio.Lock()
        self._failures = 0
        self._last_failure = ""

    async def ensure(self) -> ClusterImage:
        """Return an image that has the topic, after making it if need be.

        Raises :exc:`CoordinatorNotAvailableError` if that did not work.
        """
        failures = self._failures
        if CONSUMER_OFFSETS not in self._metadata.image.topics:
            async with self._one_at_a_time:
                if CONSUMER_OFFSETS not in self._metadata.image.topics:
                    if self._failures > failures:
                        # Whoever waits meanwhile does not try again one after another.
                        raise CoordinatorNotAvailableError(self._last_failure)
                    await self._create()
        return self._metadata.image

    async def _create(self) -> None:
        await self._wait_for_brokers()
        config = self._config
        wanted = TopicToCreate(
            CONSUMER_OFFSETS,
            partitions=config.partitions,
            replication_factor=min(config.replication_factor, self._brokers(self._metadata.image)),
            configs={**_CONFIGS, "segment.bytes": str(config.segment_bytes)},
        )
        try:
            (created,) = await self._topics.create_topics(
                [wanted], validate_only=False, timeout_ms=CREATE_TIMEOUT_MS
            )
            # Another broker may have been faster.
            if isinstance(created, OttlaError) and not isinstance(created, TopicAlreadyExistsError):
                raise created
            await self._metadata.wait_for(
                lambda image: CONSUMER_OFFSETS in image.topics,
                timeout_ms=CREATE_TIMEOUT_MS,
                what=f"the creation of {CONSUMER_OFFSETS}",
            )
        except OttlaError as error:
            emit(OFFSETS_TOPIC_NOT_CREATED, reason=str(error))
            self._failures += 1
            self._last_failure = (
                f"the first group needs the topic {CONSUMER_OFFSETS}, which could not be created: "
                f"{error}"
            )
            raise CoordinatorNotAvailableError(self._last_failure) from error
        if not isinstance(created, OttlaError):
            emit(
                OFFSETS_TOPIC_CREATED,
                partitions=created.partitions,
                replication_factor=created.replication_factor,
            )

    async def _wait_for_brokers(self) -> None:
        expected = min(self._config.replication_factor, self._config.voters)
        with suppress(RequestTimedOutError):
            await self._metadata.wait_for(
                lambda image: self._brokers(image) >= expected,
                timeout_ms=BROKERS_WAIT_MS,
                what="the registration of the other brokers",
            )

    def _brokers(self, image: ClusterImage) -> int:
        return max(1, len(image.brokers))
