"""Who writes, and who looks at what the group has committed, all the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Self

import confluent_kafka
from confluent_kafka import TopicPartition

from ottla.cluster.group_partitions import partition_number
from ottla.model.topic_names import CONSUMER_OFFSETS
from ottla.wire.group_records import (
    OffsetCommitKey,
    OffsetCommitValue,
    read_record_key,
    read_record_value,
)

LOOK_EVERY_S: Final = 0.03
ANSWER_WITHIN_S: Final = 2.0
DELIVERED_WITHIN_S: Final = 60.0


def _quiet(bootstrap: str) -> dict[str, Any]:
    """Return settings of a client that finds brokers again soon, and keeps worries to itself."""
    return {"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 1000, "log_level": 0}


class _Thread:
    """Does something until the end of a ``with`` block, and raises there what went wrong."""

    def __init__(self) -> None:
        self._ends = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def end(self) -> None:
        """End, and raise what went wrong."""
        self._ends.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 -- raised again in end()
            self._failure = error

    def _run(self) -> None:
        raise NotImplementedError


class Writing(_Thread):
    """Writes numbered records to all partitions in turn; every one must be acknowledged."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, *, per_second: float) -> None:
        super().__init__()
        self.acknowledged: dict[str, tuple[int, int | None]] = {}
        """By value: partition, and offset, which is unknown after an answer that was lost."""
        self.refused: list[str] = []
        self._topic = topic
        self._partitions = partitions
        self._interval_s = 1 / per_second
        self._producer = confluent_kafka.Producer(
            {
                **_quiet(bootstrap),
                "enable.idempotence": True,
                "linger.ms": 5,
                "delivery.timeout.ms": int(1000 * DELIVERED_WITHIN_S),
            }
        )

    def ends(self) -> dict[int, int]:
        """Return, by partition, the end of what was acknowledged so far, as far as is known."""
        ends = dict.fromkeys(range(self._partitions), 0)
        for partition, offset in list(self.acknowledged.values()):
            ends[partition] = max(ends[partition], 0 if offset is None else offset + 1)
        return ends

    def _run(self) -> None:
        due_s = time.monotonic()
        for number in count():
            value = str(number)
            partition = number % self._partitions
            self._producer.produce(self._topic, value, partition=partition, callback=self._told)
            due_s = max(due_s + self._interval_s, time.monotonic() - 1)
            self._producer.poll(max(0.0, due_s - time.monotonic()))
            if self._ends.is_set():
                break
        left = self._producer.flush(DELIVERED_WITHIN_S)
        if left:
            self.refused.append(f"{left} records were neither acknowledged nor refused")

    def _told(self, error: object, message: confluent_kafka.Message) -> None:
        if error is None:
            partition = message.partition()
            assert partition is not None
            self.acknowledged[_value(message)] = partition, message.offset()
        else:
            self.refused.append(f"{_value(message)}: {error}")


def _value(message: confluent_kafka.Message) -> str:
    return (message.value() or b"").decode()


@dataclass(frozen=True, slots=True)
class Look:
    """What was committed when somebody looked."""

    began_s: float
    ended_s: float
    committed: Mapping[int, int]
    """By partition; 0 for nothing."""


@dataclass(slots=True)
class Looks:
    """All of them, and how long the coordinator could not be asked."""

    looks: list[Look] = field(default_factory=list)
    failures: int = 0
    longest_silence_s: float = 0.0


class Watching(_Thread):
    """Looks at the committed offsets, from outside of the group."""

    def __init__(self, bootstrap: str, group_id: str, topic: str, partitions: int) -> None:
        super().__init__()
        self.seen = Looks()
        self._places = [TopicPartition(topic, number) for number in range(partitions)]
        self._consumer = confluent_kafka.Consumer(
            {**_quiet(bootstrap), "group.id": group_id, "enable.auto.commit": False}
        )

    def committed(self) -> Mapping[int, int]:
        """Return what was seen last."""
        return self.seen.looks[-1].committed if self.seen.looks else {}

    def _run(self) -> None:
        last_s = time.monotonic()
        while not self._ends.wait(LOOK_EVERY_S):
            began_s = time.monotonic()
            try:
                found = self._consumer.committed(self._places, timeout=ANSWER_WITHIN_S)
            except confluent_kafka.KafkaException:
                self.seen.failures += 1
                continue
            if any(place.error for place in found):
                self.seen.failures += 1
                continue
            committed = {place.partition: max(place.offset, 0) for place in found}
            ended_s = time.monotonic()
            self.seen.longest_silence_s = max(self.seen.longest_silence_s, ended_s - last_s)
            last_s = ended_s
            self.seen.looks.append(Look(began_s, ended_s, committed))
        self._consumer.close()


def ends_of(bootstrap: str, topic: str, partitions: int) -> dict[int, int]:
    """Return where each partition ends."""
    consumer = confluent_kafka.Consumer({**_quiet(bootstrap), "group.id": "nobody"})
    places = [TopicPartition(topic, number) for number in range(partitions)]
    timeout = DELIVERED_WITHIN_S
    ends = [consumer.get_watermark_offsets(place, timeout=timeout)[1] for place in places]
    consumer.close()
    return dict(enumerate(ends))


def logged_offsets(
    bootstrap: str, group_id: str, topic: str, *, log_partitions: int
) -> Mapping[int, Sequence[tuple[int, str]]]:
    """Return what the log of the group says, by partition of ``topic``, in the log's order.

    Each is a committed offset and who committed it.
    """
    consumer = confluent_kafka.Consumer(
        {**_quiet(bootstrap), "group.id": "nobody", "enable.auto.commit": False}
    )
    log = TopicPartition(CONSUMER_OFFSETS, partition_number(group_id, log_partitions))
    low, high = consumer.get_watermark_offsets(log, timeout=DELIVERED_WITHIN_S)
    consumer.assign([TopicPartition(log.topic, log.partition, low)])
    found: dict[int, list[tuple[int, str]]] = {}
    deadline_s = time.monotonic() + DELIVERED_WITHIN_S
    at = low
    while at < high:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{log} was read to {at} of {high} only")
        for message in consumer.consume(1000, 0.5):
            if message.error():
                continue
            at = (message.offset() or 0) + 1
            key = read_record_key(message.key() or b"")
            if isinstance(key, OffsetCommitKey) and (key.group, key.topic) == (group_id, topic):
                content = message.value()
                said = (0, "nobody")
                if content is not None:
                    value = read_record_value(OffsetCommitValue, content)
                    said = (value.offset, value.metadata)
                found.setdefault(key.partition, []).append(said)
    consumer.close()
    return found
