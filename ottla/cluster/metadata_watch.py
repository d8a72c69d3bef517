"""Tells those who watch the cluster what has changed, soon and not too often.

Everything is driven by the images that the metadata cache publishes; while none comes, nothing
runs. A *round* compares the newest image with the one of the round before, once for all who watch,
and notes for each of them which of its topics changed. The first image after a quiet time is a
round at once, so that a new leader is known as soon as it is elected; those that follow closely are
one round together.

::

    image ─► round ─► watch of client 1: topics a, c      (taken when the client can take more)
                  └─► watch of client 2: nothing of interest, not woken

What a watch holds is a set of names, never an image, so that one whose client reads slowly costs no
more than its topics, and the client is told of the last state only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence

from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.services import (
    MetadataChange,
    PartitionDescription,
    Result,
    TopicDescription,
)
from ottla.model.errors import UnknownTopicOrPartitionError
from ottla.model.ids import NO_OFFSET
from ottla.model.image import ClusterImage, TopicImage
from ottla.model.limits import METADATA_WATCH_INTERVAL_MS
from ottla.model.topic_names import INTERNAL_TOPICS


class MetadataWatches:
    """All watches of one broker. Made on the event loop that runs them."""

    def __init__(self, metadata: MetadataCache) -> None:
        self._metadata = metadata
        self._watches: set[_Watch] = set()
        self._compared = metadata.image
        """What the watches know of, but for what they have noted."""
        self._round: asyncio.TimerHandle | None = None
        self._last_round_s = float("-inf")
        metadata.subscribe(self._published)

    def __repr__(self) -> str:
        return f"<MetadataWatches {len(self._watches)} open>"

    async def watch(self, names: Sequence[str]) -> AsyncGenerator[MetadataChange]:
        """Yield the present state of the topics named, or of all, then every change; never ends."""
        if not self._watches:
            self._compared = self._metadata.image
        watch = _Watch(names)
        self._watches.add(watch)
        try:
            image = self._metadata.image
            known = watch.names or _public(image)
            yield MetadataChange(image, [(name, _described(image, name)) for name in known], ())
            while True:
                await watch.woken.wait()
                yield watch.take(self._metadata.image)
        finally:
            self._watches.discard(watch)

    def _published(self, image: ClusterImage) -> None:
        del image
        if not self._watches or self._round is not None:
            return
        loop = asyncio.get_running_loop()
        next_s = self._last_round_s + METADATA_WATCH_INTERVAL_MS / 1000
        # Even a round that is due waits for its turn: whoever publishes is busy with the image.
        self._round = loop.call_at(max(next_s, loop.time()), self._run_round)

    def _run_round(self) -> None:
        self._round = None
        self._last_round_s = asyncio.get_running_loop().time()
        before, now = self._compared, self._metadata.image
        self._compared = now
        changed = _changed_topics(before, now)
        all_see = _shown(before) != _shown(now)
        if changed or all_see:
            for watch in self._watches:
                watch.note(changed, all_see=all_see)


class _Watch:
    """What one client does not know yet."""

    __slots__ = ("_changed", "names", "woken")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = dict.fromkeys(names)
        self.woken = asyncio.Event()
        self._changed: set[str] = set()

    def note(self, changed: Collection[str], *, all_see: bool) -> None:
        news = self._of_interest(changed)
        self._changed |= news
        if news or all_see:
            self.woken.set()

    def take(self, image: ClusterImage) -> MetadataChange:
        changed, self._changed = sorted(self._changed), set()
        self.woken.clear()
        present = [name for name in changed if name in image.topics]
        return MetadataChange(
            image,
            [(name, _described(image, name)) for name in present],
            tuple(name for name in changed if name not in image.topics),
        )

    def _of_interest(self, changed: Collection[str]) -> set[str]:
        if not self.names:
            return {name for name in changed if name not in INTERNAL_TOPICS}
        return {name for name in changed if name in self.names}


def _public(image: ClusterImage) -> Iterable[str]:
    return sorted(name for name in image.topics if name not in INTERNAL_TOPICS)


def _shown(image: ClusterImage) -> tuple[object, ...]:
    """Return what every watch is told of."""
    return image.cluster_id, image.controller_id, image.brokers


def _changed_topics(before: ClusterImage, now: ClusterImage) -> set[str]:
    """Return the topics that are new, gone, or look different; settings are not looked at."""
    if before.topics is now.topics:
        return set()
    changed = {name for name in before.topics if name not in now.topics}
    for name, topic in now.topics.items():
        old = before.topics.get(name)
        # Images share what did not change, so that this is all there is to do for most.
        if old is not topic and (old is None or _looks(old) != _looks(topic)):
            changed.add(name)
    return changed


def _looks(topic: TopicImage) -> tuple[object, ...]:
    return topic.topic_id, topic.partitions


def _described(image: ClusterImage, name: str) -> Result[TopicDescription]:
    """Describe a topic without figures of the moment, which are no change of the cluster."""
    topic = image.topics.get(name)
    if topic is None:
        return UnknownTopicOrPartitionError(f"there is no topic {name!r} yet")
    return TopicDescription(
        topic,
        name in INTERNAL_TOPICS,
        [
            PartitionDescription(number, part, NO_OFFSET, NO_OFFSET, -1)
            for number, part in enumerate(topic.partitions)
        ],
    )
