"""Which partitions a simulated broker hosts, and in which role: images in, roles out.

What :mod:`ottla.cluster.replica_manager` does. An image is carried out a moment after it was
applied, and only the newest one. Logs are made, opened and closed by the real
:class:`~ottla.storage.log_manager.LogManager`.

A broker takes a role only once the image has *its own registration*: an image of before says what
its earlier life did, which may have lost the end of its logs since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from ottla.model.errors import StorageError
from ottla.model.ids import NO_BROKER, BrokerId, Offset, TopicId, TopicPartition
from ottla.model.image import ClusterImage, PartitionImage, TopicImage
from ottla.replication.leader import IsrMember
from ottla.simulation.follower_calls import FollowerCalls
from ottla.simulation.replica import Replica, ReplicaHost, ReplicaSettings
from ottla.storage.log_config import LogConfig
from ottla.storage.log_creation import NewLog
from ottla.storage.log_manager import LogManager

MIN_INSYNC_KEY: Final = "min.insync.replicas"
WRITE_CACHING_KEY: Final = "write.caching"


class Hosting:
    """The replicas of one broker."""

    def __init__(
        self,
        host: ReplicaHost,
        logs: LogManager,
        *,
        incarnation_id: bytes,
        replica_lag_time_max_ms: int,
        segment_bytes: int,
        carried_out: Callable[[ClusterImage], None],
    ) -> None:
        """Host what images say; ``logs`` are opened by :meth:`open`."""
        self.replicas: Final[dict[TopicPartition, Replica]] = {}
        self._host = host
        self._logs = logs
        self._incarnation_id = incarnation_id
        self._lag_ms = replica_lag_time_max_ms
        self._config = LogConfig(
            segment_bytes=segment_bytes, index_interval_bytes=256, file_delete_delay_ms=1_000
        )
        self._carried_out = carried_out
        self._calls: FollowerCalls | None = None
        self.member: IsrMember | None = None
        """This broker, as the newest image that has its registration says."""
        self._opened = False
        self._latest: ClusterImage | None = None
        self._scheduled = False
        self._broker = BrokerId(host.process.number)

    def connect(self, calls: FollowerCalls) -> None:
        """Copy by these calls."""
        self._calls = calls

    def open(self, image: ClusterImage) -> bool:
        """Open all logs, with recovery; return whether the last stop was clean."""
        report = self._logs.open_all(lambda _partition: self._config, wall_ms=self._wall_ms())
        # One that is missing may have been given up; the next image says whether it is ours.
        offline = self._logs.offline.keys() - self._logs.missing
        if offline:
            raise self._logs.offline[min(offline)]
        self._opened = True
        self.image_applied(image)
        return report.clean

    def image_applied(self, image: ClusterImage) -> None:
        """Carry out an image soon."""
        self._latest = image
        if self._opened and not self._scheduled:
            self._scheduled = True
            process = self._host.process
            process.after(process.world.between(0, 3), "image", self._carry_out)

    def high_watermarks(self) -> dict[TopicPartition, Offset]:
        """Return what is known to be committed."""
        return {tp: replica.high_watermark for tp, replica in self.replicas.items()}

    def close(self) -> None:
        """Have no role any more."""
        for replica in self.replicas.values():
            replica.resign()
        self._opened = False

    # --- Inside ---

    def _carry_out(self) -> None:
        self._scheduled = False
        image = self._latest
        if image is None or not self._opened:
            return
        me = image.brokers.get(self._broker)
        if me is not None and me.incarnation_id == self._incarnation_id:
            self.member = IsrMember(self._broker, me.broker_epoch)
            assigned = {tp: (topic, part) for tp, topic, part in self._assigned(image)}
            for topic_partition in [tp for tp in self._logs.logs if tp not in assigned]:
                self._drop(topic_partition)
            self._let_go_of_missing({tp: part for tp, (_, part) in assigned.items()})
            self._make([(tp, topic) for tp, (topic, _) in assigned.items()])
            serving = frozenset(
                broker.broker_id
                for broker in image.brokers.values()
                if not broker.fenced and not broker.shutting_down
            )
            for topic_partition, (_, part) in assigned.items():
                self._follow(self.replicas[topic_partition], part, self.member, serving)
        self._carried_out(image)

    def _assigned(
        self, image: ClusterImage
    ) -> Iterator[tuple[TopicPartition, TopicImage, PartitionImage]]:
        for topic in image.topics.values():
            for number, part in enumerate(topic.partitions):
                if self._broker in part.replicas:
                    yield TopicPartition(topic.name, number), topic, part

    def _drop(self, topic_partition: TopicPartition) -> None:
        replica = self.replicas.pop(topic_partition, None)
        self._host.watcher.dropped(self._broker, topic_partition)
        if replica is None:
            self._logs.set_aside(topic_partition)  # removed before, and back after a crash
        else:
            replica.give_up()
            self._logs.delete(topic_partition, now_ms=self._host.process.clock.now_ms())

    def _let_go_of_missing(self, assigned: Mapping[TopicPartition, PartitionImage]) -> None:
        """Begin partitions anew that were given up, unless somebody counts on what was there."""
        for topic_partition in sorted(self._logs.missing):
            part = assigned.get(topic_partition)
            holders = part and (*part.in_sync_replicas, *part.eligible_leader_replicas)
            if holders and self._broker in holders:
                raise self._logs.offline[topic_partition]
            self._logs.delete(topic_partition, now_ms=self._host.process.clock.now_ms())

    def _make(self, assigned: list[tuple[TopicPartition, TopicImage]]) -> None:
        new = [(tp, topic) for tp, topic in assigned if tp not in self.replicas]
        if not new:
            return
        wanted = [NewLog(tp, topic.topic_id, self._config) for tp, topic in new]
        made = self._logs.create_all(wanted, wall_ms=self._wall_ms())
        for (topic_partition, topic), log in zip(new, made, strict=True):
            if isinstance(log, StorageError):
                raise log
            self.replicas[topic_partition] = Replica(
                self._host,
                topic_partition,
                log,
                ReplicaSettings(
                    min_insync_replicas=int(topic.configs.get(MIN_INSYNC_KEY, "1")),
                    write_caching=topic.configs.get(WRITE_CACHING_KEY) == "true",
                    replica_lag_time_max_ms=self._lag_ms,
                ),
                known_high_watermark=self._logs.known_high_watermark(topic_partition),
            )

    def _follow(
        self,
        replica: Replica,
        part: PartitionImage,
        member: IsrMember,
        serving: frozenset[BrokerId],
    ) -> None:
        if part.leader == self._broker:
            replica.lead(part, member=member, serving=serving)
        elif part.leader == NO_BROKER:
            if replica.image is not None:
                replica.resign()
        else:
            assert self._calls is not None
            replica.follow(part, link_is_open=self._calls.is_open(part.leader))
            self._calls.need(part.leader)

    def _wall_ms(self) -> int:
        return self._host.process.clock.wall_ms()


def topic_id_of(image: ClusterImage, replica: Replica) -> TopicId | None:
    """Return the id of a replica's topic, as an image has it."""
    topic = image.topics.get(replica.topic_partition.topic)
    return None if topic is None else topic.topic_id
