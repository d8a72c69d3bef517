"""Which partitions this broker hosts, and in which role.

The metadata log says it; this module carries it out. Images of the cluster come in. From the
difference between one and the next follow logs to make, to delete and to reconfigure, and
partitions to lead or to lead no more. Only when that is done does the rest of the broker see the
image (:class:`~ottla.cluster.metadata_cache.MetadataCache`): whoever finds a partition there that
this broker leads can use it at once.

    Raft ──image──► what is new? ──logs to make──► thread ──► lead, resign ──► metadata cache
                        └──────────── nothing of ours ──────────────────────────►

Images that arrive while one is being carried out are skipped but for the newest: a difference over
several images is a difference all the same.

Logs are made and deleted on the log thread, because that waits for the disk; everything else
happens on the event loop. A partition whose log cannot be opened or made is *offline*: it is
answered with the reason, and does not keep others from being served.

Only what is known to be deleted is deleted: a partition hosted until now, or of a topic that the
image before knew and this one does not. A directory of any other topic may be good data with a
damaged ``partition.metadata``. It is set aside as a stray one, or, if a partition of its name
belongs here and it has records, stays where it is, and that partition is offline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice, zip_longest
from typing import Final, NamedTuple

from ottla.cluster.instruments import Instruments
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.partition import Partition, PartitionContext
from ottla.cluster.partition_settings import PartitionSettings
from ottla.model.errors import (
    NotLeaderOrFollowerError,
    OttlaError,
    StorageError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import NO_BROKER, BrokerId, Offset, TopicId, TopicPartition
from ottla.model.image import BrokerImage, ClusterImage, PartitionImage, TopicImage
from ottla.replication.leader import IsrMember
from ottla.runtime.logging import Event, Severity, emit
from ottla.storage.log import PartitionLog
from ottla.storage.log_creation import NewLog
from ottla.storage.log_manager import LogManager

PARTITION_OFFLINE = Event("replica.partition_offline", Severity.ERROR)
PARTITION_DELETED = Event("replica.partition_deleted")
PARTITION_STRAY = Event("replica.partition_stray", Severity.WARNING)

LOGS_MADE_AT_ONCE_MAX: Final = 64
"""Logs made in one go on the log thread, before the event loop gets to lead them."""

ROLES_AT_ONCE_MAX: Final = 100
"""Partitions that are given a role before others get their turn of the event loop: some
milliseconds. After the loss of a broker all may need another one."""

SettingsOf = Callable[[Mapping[str, str], ClusterImage], PartitionSettings]
"""Resolve what a topic sets, and what an image says of all topics."""


class _Assigned(NamedTuple):
    """A partition that an image says is ours."""

    topic_partition: TopicPartition
    topic: TopicImage
    image: PartitionImage


class _Resolved(NamedTuple):
    """A topic's settings, and what they came from."""

    configs: Mapping[str, str]
    broker_configs: Mapping[BrokerId | None, Mapping[str, str]]
    settings: PartitionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What must be done so that this broker is as an image says."""

    image: ClusterImage
    gone: Sequence[TopicPartition]
    """Hosted, or on disk, and known to be ours no more."""
    stray: Sequence[TopicPartition]
    """On disk, not ours, and of a topic that was never heard of."""
    new: Sequence[_Assigned]
    """Ours, and not hosted."""


class ReplicaManager:
    """The partitions of one broker."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        logs: LogManager,
        context: PartitionContext,
        metadata: MetadataCache,
        settings_of: SettingsOf,
        instruments: Instruments,
        log_thread: Executor,
        incarnation_id: bytes | None = None,
    ) -> None:
        """Host what ``metadata`` will say; the logs in ``logs`` are open.

        With ``incarnation_id`` partitions get no role before the metadata log knows of this life of
        the broker: an earlier one may have had in its log what a crash took from ours, so that we
        must not lead in its epochs.
        """
        self._broker_id = broker_id
        self._incarnation_id = incarnation_id
        self._is_first = True
        self._logs = logs
        self._context = context
        self._metadata = metadata
        self._settings_of = settings_of
        self._instruments = instruments
        self._log_thread = log_thread
        self._partitions: dict[TopicPartition, Partition] = {}
        self._by_topic_id: dict[tuple[TopicId, int], Partition] = {}
        self._offline: dict[TopicPartition, StorageError] = {}
        self._settings: dict[TopicId, _Resolved] = {}
        self._latest: ClusterImage | None = None
        self._carrying_out = False
        self._arrived = asyncio.Event()

    def __repr__(self) -> str:
        led = sum(partition.is_leader for partition in self._partitions.values())
        return (
            f"<ReplicaManager of broker {self._broker_id}: {len(self._partitions)} partitions, "
            f"{led} led, {len(self._offline)} offline>"
        )

    # --- What others may ask ---

    @property
    def partitions(self) -> Mapping[TopicPartition, Partition]:
        """Those that are hosted here; not to be changed."""
        return self._partitions

    @property
    def offline(self) -> Mapping[TopicPartition, StorageError]:
        """Those that should be hosted here and cannot, and why; not to be changed."""
        return self._offline

    def led(self, topic_partition: TopicPartition) -> Partition:
        """Return a partition that this broker leads.

        Raises:
            UnknownTopicOrPartitionError: there is no such partition.
            NotLeaderOrFollowerError: another broker leads it, or none.
            StorageError: it should be here, but its log cannot be used.
        """
        partition = self._partitions.get(topic_partition)
        if partition is not None and partition.is_leader:
            return partition
        raise self._why_not(topic_partition)

    def by_topic_id(self, topic_id: TopicId, number: int) -> Partition | None:
        """Return a hosted partition of exactly this topic; ``None`` if there is none."""
        return self._by_topic_id.get((topic_id, number))

    def high_watermarks(self) -> dict[TopicPartition, Offset]:
        """Return what is known to be committed, for the checkpoint and for retention."""
        return {tp: partition.high_watermark for tp, partition in self._partitions.items()}

    def _why_not(self, topic_partition: TopicPartition) -> OttlaError:
        image = self._metadata.image.partition(topic_partition)
        if image is None:
            return UnknownTopicOrPartitionError(
                f"there is no partition {topic_partition.partition} of topic "
                f"{topic_partition.topic!r}; ask for metadata again"
            )
        offline = self._offline.get(topic_partition)
        if offline is not None:
            return StorageError(f"{topic_partition} is offline: {offline}")
        return NotLeaderOrFollowerError(
            f"broker {self._broker_id} does not lead {topic_partition}, broker {image.leader} does "
            "as far as it knows; ask for metadata again"
        )

    # --- Following the metadata log ---

    def image_applied(self, image: ClusterImage) -> None:
        """Take a newer image; :meth:`run` carries it out if it concerns this broker."""
        done = self._metadata.image
        if not self._carrying_out and self._latest is None and _same_partitions(done, image):
            self._metadata.publish(image)
            return
        self._latest = image
        self._arrived.set()

    async def run(self) -> None:
        """Carry out images, one after another, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._latest is not None:
                image, self._latest = self._latest, None
                self._carrying_out = True
                await self._carry_out(image)
                self._carrying_out = False
                self._metadata.publish(image)

    async def _carry_out(self, image: ClusterImage) -> None:
        self._forget_offline(image)
        change = self._change(image)
        await self._remove(change.gone, image)
        self._set_aside(change.stray)
        new = iter(change.new)
        while some := list(islice(new, LOGS_MADE_AT_ONCE_MAX)):
            await self._make(some, image)
        await self._give_roles(image, self._touched(image))
        self._is_first = False

    def _change(self, image: ClusterImage) -> _Change:
        """Compare ``image`` with what is hosted and with what is on disk."""
        changed = self._changed_topics(image)
        ours = {assigned.topic_partition: assigned for assigned in self._assigned(image, changed)}
        present = {
            tp: partition.topic_id
            for tp, partition in self._partitions.items()
            if tp.topic in changed
        }
        for topic_partition in (*self._logs.logs, *self._logs.offline):
            if topic_partition.topic in changed:
                topic_id = self._logs.topic_id(topic_partition)
                if topic_id is not None:
                    present.setdefault(topic_partition, topic_id)
        deleted = self._metadata.image.topic_names.keys() - image.topic_names.keys()
        gone: list[TopicPartition] = []
        stray: list[TopicPartition] = []
        for tp, topic_id in present.items():
            if tp in ours and ours[tp].topic.topic_id == topic_id:
                continue
            moved = image.topic_names.get(topic_id) == tp.topic  # to other brokers
            if tp in self._partitions or topic_id in deleted or moved:
                gone.append(tp)
            elif tp not in ours:
                stray.append(tp)
            elif self._is_empty(tp):
                gone.append(tp)
            # Else it stays and is in the way of the new log, which says so.
        gone += self._missing_no_more(ours, changed)
        going = set(gone)
        new = [
            assigned
            for tp, assigned in ours.items()
            if tp in going or (tp not in self._partitions and tp not in self._offline)
        ]
        return _Change(image=image, gone=gone, stray=stray, new=new)

    def _changed_topics(self, image: ClusterImage) -> set[str]:
        """Return the topics that are not as they were; at first those on disk, too."""
        done = self._metadata.image.topics
        if self._is_first:
            on_disk = (*self._logs.logs, *self._logs.offline, *self._logs.missing)
            return {*image.topics, *done, *(tp.topic for tp in on_disk)}
        if image.topics is done:
            return set()
        changed = {name for name, topic in image.topics.items() if done.get(name) is not topic}
        return changed | (done.keys() - image.topics.keys())

    def _missing_no_more(
        self, ours: Mapping[TopicPartition, _Assigned], changed: set[str]
    ) -> Iterator[TopicPartition]:
        """Yield the partitions whose directory is missing, and may be.

        Their topic has gone, or nobody counts on what this broker had of them.
        """
        done = self._metadata.image.topics
        for topic_partition in self._logs.missing:
            if topic_partition.topic not in changed:
                continue
            before = done.get(topic_partition.topic)
            assigned = ours.get(topic_partition)
            if (
                assigned is None
                or (before is not None and before.topic_id != assigned.topic.topic_id)
                or not self._is_counted_on(assigned.image)
            ):
                yield topic_partition

    def _is_counted_on(self, partition: PartitionImage) -> bool:
        """Whether records may be lost if this broker does not have what it had."""
        return (
            self._broker_id in partition.in_sync_replicas
            or self._broker_id in partition.eligible_leader_replicas
        )

    def _is_empty(self, topic_partition: TopicPartition) -> bool:
        log = self._logs.get(topic_partition)
        return log is not None and log.log_end_offset == 0

    def _forget_offline(self, image: ClusterImage) -> None:
        """Forget what was wrong with partitions of topics that are gone, or made again."""
        done = self._metadata.image.topics
        for topic_partition in list(self._offline):
            before, now = (topics.get(topic_partition.topic) for topics in (done, image.topics))
            if before is None or now is None or before.topic_id != now.topic_id:
                del self._offline[topic_partition]

    def _assigned(self, image: ClusterImage, changed: set[str]) -> Iterator[_Assigned]:
        for name in image.topics if self._is_first else sorted(changed & image.topics.keys()):
            topic = image.topics[name]
            for number, part in enumerate(topic.partitions):
                if self._broker_id in part.replicas:
                    yield _Assigned(TopicPartition(topic.name, number), topic, part)

    # --- Partitions that go ---

    async def _remove(self, gone: Sequence[TopicPartition], image: ClusterImage) -> None:
        if not gone:
            return
        for topic_partition in gone:
            self._offline.pop(topic_partition, None)
            partition = self._partitions.pop(topic_partition, None)
            if partition is not None:
                await self._let_go(partition, image)
        # Nobody may flush a log whose directory is not where it was.
        await self._context.flusher.barrier()
        now_ms = self._context.clock.now_ms()
        for topic_partition in gone:
            try:
                self._logs.delete(topic_partition, now_ms=now_ms)
            except StorageError as error:
                self._context.directory.fail(error)
            else:
                emit(PARTITION_DELETED, partition=topic_partition)
        for topic in {topic_partition.topic for topic_partition in gone}:
            if topic not in image.topics:
                self._instruments.forget_topic(topic)

    async def _let_go(self, partition: Partition, image: ClusterImage) -> None:
        """Take its role from a partition that is not hosted any more."""
        name, number = partition.topic_partition
        self._by_topic_id.pop((partition.topic_id, number), None)
        if partition.following is not None:
            await partition.following.cut_finished()
        if partition.topic_id in image.topic_names:
            moved = f"{name}-{number} was moved to other brokers; ask for metadata again"
            partition.resign(NotLeaderOrFollowerError(moved))
        else:
            partition.resign(UnknownTopicOrPartitionError("the topic was deleted"))
            self._settings.pop(partition.topic_id, None)

    def _set_aside(self, stray: Sequence[TopicPartition]) -> None:
        """Keep what may be somebody's records, but not under a name that a topic may get."""
        for topic_partition in stray:
            topic_id = self._logs.topic_id(topic_partition)
            try:
                kept_as = self._logs.set_aside(topic_partition)
            except StorageError as error:
                self._context.directory.fail(error)
            else:
                emit(PARTITION_STRAY, partition=topic_partition, topic_id=topic_id, kept_as=kept_as)

    # --- Partitions that come ---

    async def _make(self, new: Sequence[_Assigned], image: ClusterImage) -> None:
        requests = [(assigned, self._settings_of_topic(assigned.topic, image)) for assigned in new]
        made = await asyncio.get_running_loop().run_in_executor(
            self._log_thread, partial(self._make_logs, requests)
        )
        for (assigned, settings), log in zip(requests, made, strict=True):
            topic_partition = assigned.topic_partition
            if isinstance(log, StorageError):
                self._offline[topic_partition] = log
                emit(PARTITION_OFFLINE, partition=topic_partition, reason=str(log))
                continue
            if log.config != settings.log:
                # It was opened at the start, with what this broker knew then.
                log.reconfigure(settings.log)
            partition = Partition(
                topic_partition=topic_partition,
                topic_id=assigned.topic.topic_id,
                log=log,
                settings=settings,
                context=self._context,
                instruments=self._instruments.topic(topic_partition.topic),
                known_high_watermark=self._logs.known_high_watermark(topic_partition),
            )
            self._partitions[topic_partition] = partition
            self._by_topic_id[partition.topic_id, topic_partition.partition] = partition
        await self._give_roles(image, [assigned.topic_partition for assigned in new])

    def _make_logs(
        self, requests: Sequence[tuple[_Assigned, PartitionSettings]]
    ) -> list[PartitionLog | StorageError]:
        """Make logs, or find those that are open already. On the log thread."""
        wanted = [
            NewLog(assigned.topic_partition, assigned.topic.topic_id, settings.log)
            for assigned, settings in requests
        ]
        failure = self._context.directory.failure
        if failure is not None:
            return [self._made_before(new) or failure for new in wanted]
        return self._logs.create_all(wanted, wall_ms=self._context.clock.wall_ms())

    def _made_before(self, new: NewLog) -> PartitionLog | None:
        same_topic = self._logs.topic_id(new.topic_partition) == new.topic_id
        return self._logs.get(new.topic_partition) if same_topic else None

    # --- Partitions that stay ---

    def _touched(self, image: ClusterImage) -> Iterable[TopicPartition]:
        """Return the partitions that are not as they were in the image carried out before."""
        done = self._metadata.image
        if (
            self._is_first
            or self._me(image) is not self._me(done)
            or _serving(image) != _serving(done)
            or image.broker_configs is not done.broker_configs
        ):
            return list(self._partitions)
        touched: list[TopicPartition] = []
        for name in self._changed_topics(image) & image.topics.keys():
            before, now = done.topics.get(name), image.topics[name]
            if before is None or before.configs is not now.configs:
                touched += [TopicPartition(name, number) for number in range(len(now.partitions))]
                continue
            pairs = zip_longest(before.partitions, now.partitions)
            touched += [
                TopicPartition(name, number)
                for number, (one, other) in enumerate(pairs)
                if one is not other
            ]
        return touched

    def _me(self, image: ClusterImage) -> BrokerImage | None:
        """Return this broker as ``image`` has it; ``None`` if it has not this life of it."""
        me = image.brokers.get(self._broker_id)
        if me is None or self._incarnation_id not in {None, me.incarnation_id}:
            return None
        return me

    async def _give_roles(self, image: ClusterImage, partitions: Iterable[TopicPartition]) -> None:
        """Give these partitions the role and the settings that ``image`` says.

        Those whose logs are being cut come last, so that the others need not wait.
        """
        serving = _serving(image)
        cutting: list[Partition] = []
        for number, topic_partition in enumerate(partitions, start=1):
            if number % ROLES_AT_ONCE_MAX == 0:
                await asyncio.sleep(0)
            partition = self._partitions.get(topic_partition)
            part = image.partition(topic_partition)
            if partition is None or part is None:
                continue
            settings = self._settings_of_topic(image.topics[topic_partition.topic], image)
            if settings is not partition.settings:
                partition.reconfigure(settings)
            if partition.is_cutting:
                cutting.append(partition)
            else:
                self._give_role(partition, part, image, serving)
        for partition in cutting:
            part = image.partition(partition.topic_partition)
            assert part is not None
            if partition.following is not None:
                await partition.following.cut_finished()
            self._give_role(partition, part, image, serving)

    def _give_role(
        self,
        partition: Partition,
        part: PartitionImage,
        image: ClusterImage,
        serving: frozenset[BrokerId],
    ) -> None:
        me = self._me(image)
        if me is not None and part.leader == self._broker_id:
            if partition.is_leader and partition.leader.leader_epoch == part.leader_epoch:
                partition.lead_on(part, serving=serving)
                return
            self._resign(partition, part)
            member = IsrMember(self._broker_id, me.broker_epoch)
            partition.lead(part, broker=member, serving=serving)
        elif me is None or part.leader == NO_BROKER:
            self._resign(partition, part)
            if partition.is_follower:
                partition.rest()
        else:
            self._resign(partition, part)
            partition.follow(part, broker_id=self._broker_id)

    def _resign(self, partition: Partition, part: PartitionImage) -> None:
        if partition.is_leader:
            partition.resign(self._why_not_any_more(partition.topic_partition, part))

    def _why_not_any_more(
        self, topic_partition: TopicPartition, image: PartitionImage
    ) -> NotLeaderOrFollowerError:
        return NotLeaderOrFollowerError(
            f"broker {self._broker_id} leads {topic_partition} no more: broker {image.leader} does "
            f"in epoch {image.leader_epoch}; ask for metadata again"
        )

    def _settings_of_topic(self, topic: TopicImage, image: ClusterImage) -> PartitionSettings:
        """Resolve a topic's settings once for all of its partitions, until they change."""
        known = self._settings.get(topic.topic_id)
        if (
            known is not None
            and known.configs == topic.configs
            and known.broker_configs is image.broker_configs
        ):
            return known.settings
        settings = self._settings_of(topic.configs, image)
        if known is not None and known.settings == settings:
            settings = known.settings  # the same one, so that nobody takes it for a change
        self._settings[topic.topic_id] = _Resolved(topic.configs, image.broker_configs, settings)
        return settings


def _serving(image: ClusterImage) -> frozenset[BrokerId]:
    """Return the brokers that may be added to in-sync sets."""
    return frozenset(
        broker.broker_id
        for broker in image.brokers.values()
        if not broker.fenced and not broker.shutting_down
    )


def _same_partitions(one: ClusterImage, other: ClusterImage) -> bool:
    """Whether two images, which share what did not change, say the same of what is hosted here."""
    return (
        one.topics is other.topics
        and one.brokers is other.brokers
        and one.broker_configs is other.broker_configs
    )
