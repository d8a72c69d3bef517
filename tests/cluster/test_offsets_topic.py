"""The topic for groups is made once; if that fails, all who wait for it are told at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.offsets_topic import OffsetsTopic, OffsetsTopicConfig
from ottla.cluster.services import Result, TopicCreated, TopicToCreate
from ottla.model.errors import CoordinatorNotAvailableError, NotControllerError
from ottla.model.image import ClusterImage

CONFIG = OffsetsTopicConfig(partitions=1, replication_factor=1, segment_bytes=1 << 20)


class NoController:
    """Refuses when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.refuses = asyncio.Event()

    async def create_topics(
        self, topics: Sequence[TopicToCreate], *, validate_only: bool, timeout_ms: int
    ) -> list[Result[TopicCreated]]:
        del validate_only, timeout_ms
        self.asked += 1
        await self.refuses.wait()
        return [NotControllerError("there is no controller") for _ in topics]


async def test_those_who_wait_together_fail_together() -> None:
    controller = NoController()
    topic = OffsetsTopic(controller, MetadataCache(ClusterImage(cluster_id="c")), CONFIG)
    waiting = [asyncio.ensure_future(topic.ensure()) for _ in range(10)]
    await asyncio.sleep(0)

    controller.refuses.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in results] == [CoordinatorNotAvailableError] * 10
    assert controller.asked == 1


async def test_whoever_comes_after_a_failure_tries_again() -> None:
    controller = NoController()
    controller.refuses.set()
    topic = OffsetsTopic(controller, MetadataCache(ClusterImage(cluster_id="c")), CONFIG)

    for _ in range(2):
        await asyncio.gather(topic.ensure(), return_exceptions=True)

    assert controller.asked == 2
