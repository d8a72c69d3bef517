"""Members of groups by several client libraries, each polling on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import aiokafka
import confluent_kafka

with warnings.catch_warnings():
    # kafka-python reads its own files in a way that Python would rather have it not.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka

DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.05
_HEARTBEAT_MS: Final = 200
_SESSION_MS: Final = 6_000


class Client(Protocol):
    """A consumer of one topic."""

    def poll(self) -> list[tuple[int, int]]:
        """Return partition and offset of some records."""

    def assigned(self) -> set[int]:
        """Return the partitions that are this member's."""

    def commit(self) -> None:
        """Commit what was polled; a member that was moved on is not told."""

    def close(self) -> None:
        """Leave the group."""


class Confluent:
    """confluent-kafka, which is librdkafka."""

    settings: Mapping[str, Any] = {
        "group.protocol": "classic",
        "session.timeout.ms": _SESSION_MS,
        "heartbeat.interval.ms": _HEARTBEAT_MS,
    }

    def __init__(self, bootstrap: str, group: str, topic: str, **more: Any) -> None:
        self.consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "reconnect.backoff.max.ms": 500,
                **self.settings,
                **{key.replace("_", "."): value for key, value in more.items()},
            }
        )
        self.consumer.subscribe([topic])

    def poll(self) -> list[tuple[int, int]]:
        messages = self.consumer.consume(100, _POLL_S)
        return [
            (one.partition() or 0, one.offset() or 0) for one in messages if one.error() is None
        ]

    def assigned(self) -> set[int]:
        return {one.partition for one in self.consumer.assignment()}

    def commit(self) -> None:
        with suppress(confluent_kafka.KafkaException):
            self.consumer.commit(asynchronous=False)

    def close(self) -> None:
        self.consumer.close()


class ConfluentConsumerProtocol(Confluent):
    """The same by the protocol of consumer groups (KIP-848)."""

    settings: Mapping[str, Any] = {"group.protocol": "consumer"}


class KafkaPython:
    """kafka-python."""

    def __init__(self, bootstrap: str, group: str, topic: str, **more: Any) -> None:
        self.consumer = kafka.KafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            # Its leader may assign before it has heard of the topic, and mends that when it has.
            metadata_max_age_ms=500,
            **more,
        )

    def poll(self) -> list[tuple[int, int]]:
        # With less, kafka-python 3.0.12 may give up a join whose answer has just arrived.
        polled = self.consumer.poll(timeout_ms=500)
        return [(one.partition, one.offset) for records in polled.values() for one in records]

    def assigned(self) -> set[int]:
        return {one.partition for one in self.consumer.assignment()}

    def commit(self) -> None:
        with suppress(kafka.errors.KafkaError):
            self.consumer.commit()

    def close(self) -> None:
        self.consumer.close()


class AioKafka:
    """aiokafka, on an event loop of its own."""

    def __init__(self, bootstrap: str, group: str, topic: str, **more: Any) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._start(bootstrap, group, topic, more))

    async def _start(self, bootstrap: str, group: str, topic: str, more: Mapping[str, Any]) -> None:
        self.consumer = aiokafka.AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            **more,
        )
        await self.consumer.start()

    def poll(self) -> list[tuple[int, int]]:
        polled = self._runner.run(self.consumer.getmany(timeout_ms=50))
        return [(one.partition, one.offset) for records in polled.values() for one in records]

    def assigned(self) -> set[int]:
        return {one.partition for one in self.consumer.assignment()}

    def commit(self) -> None:
        with suppress(aiokafka.errors.KafkaError):
            self._runner.run(self.consumer.commit())

    def close(self) -> None:
        self._runner.run(self.consumer.stop())
        self._runner.close()


class Member:
    """Polls, and commits what it polled, until it leaves."""

    def __init__(self, new_client: Callable[[], Client]) -> None:
        self.assigned: set[int] = set()
        self.polled: list[tuple[int, int]] = []
        self.assignments: list[set[int]] = []
        """All that it had, one after another."""
        self._new_client = new_client
        self._leaves = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Leave the group, and wait until that is done."""
        self.ask_to_leave()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self.check()

    def ask_to_leave(self) -> None:
        """Have it leave soon."""
        self._leaves.set()

    def check(self) -> None:
        """Raise what went wrong on the thread."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            client = self._new_client()
            while not self._leaves.is_set():
                polled = client.poll()
                if polled:
                    client.commit()
                    self.polled += polled
                assigned = client.assigned()
                if assigned != self.assigned:
                    self.assignments.append(assigned)
                self.assigned = assigned
            client.close()
        except BaseException as error:  # noqa: BLE001 -- raised again where the test looks
            self._failure = error
        finally:
            self.assigned = set()


class Crew:
    """The members of a test, which all leave in the end."""

    def __init__(self) -> None:
        self._members: list[Member] = []

    def add(self, new_client: Callable[[], Client]) -> Member:
        """Have one more member join."""
        self._members.append(Member(new_client))
        return self._members[-1]

    def disband(self) -> None:
        """Have all leave, whatever has become of them."""
        for member in self._members:
            member.ask_to_leave()
        for member in self._members:
            with suppress(Exception):
                member.leave()


def wait_until(condition: Callable[[], bool], *members: Member) -> None:
    """Wait for a condition; the members must not fail meanwhile."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        for member in members:
            member.check()
        assert time.monotonic() < deadline, [member.assignments for member in members]
        time.sleep(0.01)


def shared(partitions: int, *members: Member) -> bool:
    """Whether every partition is one member's, and every member has some."""
    owned = [number for member in members for number in member.assigned]
    return sorted(owned) == list(range(partitions)) and all(one.assigned for one in members)
