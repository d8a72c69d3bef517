"""One trial: a group, a producer, one fault after the other, and the account."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import confluent_kafka
from confluent_kafka.admin import AdminClient

from compat.group_survival.account import Account, Evidence, Window, judge
from compat.group_survival.faults import FAULTS, Fault
from compat.group_survival.members import Group, Journal, Member
from compat.group_survival.watching import Watching, Writing, ends_of, logged_offsets
from ottla.config.addresses import Address
from ottla.model.topic_names import CONSUMER_OFFSETS
from ottla.testing.cluster_processes import ClusterProcesses
from ottla.testing.cluster_questions import ClusterQuestions

PARTITIONS: Final = 8
RECORDS_PER_SECOND: Final = 150.0
SESSION_MS: Final = 4_000
LOG_PARTITIONS: Final = 4
AT_REST_WITHIN_S: Final = 90.0
IN_SYNC_WITHIN_S: Final = 60.0
MEMBERS_MAX: Final = 6

SETTINGS: Final = {
    "broker.session.timeout.ms": "3000",
    "offsets.topic.num.partitions": str(LOG_PARTITIONS),
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": str(SESSION_MS),
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.assignment.interval.ms": "0",
}
"""Of the brokers, so that what a fault does is over soon."""


class NotAtRestError(Exception):
    """A fault is over, and yet the group does not go on."""


@dataclass(slots=True, kw_only=True)
class Trial:
    """One group on a cluster that may be hurt."""

    cluster: ClusterProcesses
    protocol: str
    kinds: Sequence[str]
    """Of the members at the start."""
    directory: Path
    """For what members say."""
    tell: Callable[[str], None] = print
    partitions: int = PARTITIONS
    per_second: float = RECORDS_PER_SECOND
    group: Group = field(init=False)
    _members: list[Member] = field(default_factory=list)
    _journal: Journal = field(default_factory=Journal)
    _windows: list[Window] = field(default_factory=list)
    _writing: Writing = field(init=False)
    _watching: Watching = field(init=False)
    _undo: ExitStack = field(default_factory=ExitStack)

    # --- What faults need ---

    def present(self) -> list[Member]:
        """Return the members that run."""
        return [member for member in self._members if member.is_member]

    def add(self, kind: str) -> Member:
        """Start one more; if they are too many by that, one of the same kind leaves."""
        name = f"{kind}-{len(self._members)}"
        member = Member.start(name, kind, self.group, self._journal, self.directory)
        self._members.append(member)
        self._undo.callback(member.kill)
        if len(self.present()) > MEMBERS_MAX:
            self.present()[0].leave()
        return member

    def coordinator(self) -> int:
        """Return the id of the group's coordinator."""
        return self._questions().coordinator_of(self.group.group_id)

    def wait_in_sync(self) -> None:
        """Wait until every replica is in sync, of the records and of the group's log."""
        deadline_s = time.monotonic() + IN_SYNC_WITHIN_S
        while True:
            # A new one each time: librdkafka waits in vain for a broker that was gone for a while.
            admin = AdminClient({"bootstrap.servers": self.group.bootstrap})
            try:
                topics = admin.list_topics(timeout=5).topics
                found = [topics[name] for name in (self.group.topic, CONSUMER_OFFSETS)]
                if all(
                    len(part.isrs) == len(part.replicas) and part.leader >= 0
                    for topic in found
                    for part in topic.partitions.values()
                ):
                    return
            except (confluent_kafka.KafkaException, KeyError):
                pass
            if time.monotonic() > deadline_s:
                raise NotAtRestError(f"replicas are not in sync after {IN_SYNC_WITHIN_S:.0f} s")
            time.sleep(0.1)

    # --- The trial ---

    def run(self, faults: Sequence[Fault], draw: random.Random) -> Account:
        """Run it; raises :exc:`NotAtRestError` if the group does not go on after a fault."""
        with self._undo:
            self._begin()
            try:
                self._wait_at_rest("they began", lambda: "members began")
                for fault in faults:
                    self._wait_at_rest(fault.name, lambda: fault.begin(self, draw))  # noqa: B023
                self._writing.end()
                self._wait_at_rest("the last record was written", lambda: "nothing more is written")
                self._wait(self._is_committed, "the end is not committed")
            except NotAtRestError as error:
                raise NotAtRestError(f"{error}\n{self._judge()}") from error
            self._watching.end()
            account = self._judge()
            for member in self.present():
                member.leave()
                if "left" not in {one.what for one in self._journal.of(member.name)}:
                    account.wrong["did not leave"].append(member.name)
            return account

    def _begin(self) -> None:
        topic = self._questions().new_topic(self.partitions, {}, None)
        self.group = Group(
            bootstrap=self.cluster.kafka_bootstrap,
            grpc=self.cluster.bootstrap,
            group_id=f"survivors-{uuid4().hex[:8]}",
            topic=topic,
            protocol=self.protocol,
            session_ms=SESSION_MS,
        )
        self.coordinator()
        bootstrap = self.group.bootstrap
        self._writing = Writing(bootstrap, topic, self.partitions, per_second=self.per_second)
        self._undo.enter_context(self._writing)
        self._watching = Watching(bootstrap, self.group.group_id, topic, self.partitions)
        self._undo.enter_context(self._watching)
        for kind in self.kinds:
            self.add(kind)

    def _questions(self) -> ClusterQuestions:
        return ClusterQuestions(
            lambda: [Address("127.0.0.1", broker.kafka_port) for broker in self.cluster.running]
        )

    def _judge(self) -> Account:
        logged = logged_offsets(
            self.group.bootstrap,
            self.group.group_id,
            self.group.topic,
            log_partitions=LOG_PARTITIONS,
        )
        evidence = Evidence(
            acknowledged=dict(self._writing.acknowledged),
            refused=list(self._writing.refused),
            events=self._journal.events(),
            looks=list(self._watching.seen.looks),
            windows=self._windows,
            logged=logged,
            ends=ends_of(self.group.bootstrap, self.group.topic, self.partitions),
        )
        with (self.directory / "events.jsonl").open("w") as file:
            file.writelines(json.dumps(asdict(event)) + "\n" for event in evidence.events)
        account = judge(evidence)
        account.counts["looks without an answer"] = self._watching.seen.failures
        account.counts["ms without a look at most"] = round(
            1000 * self._watching.seen.longest_silence_s
        )
        return account

    # --- At rest ---

    def _wait_at_rest(self, name: str, begin: Callable[[], str]) -> None:
        began_s = time.monotonic()
        what = begin()
        over_s = time.monotonic()
        ends = self._writing.ends()
        self._wait(
            lambda: self._is_shared() and self._is_processed(ends), f"not at rest after: {what}"
        )
        self._windows.append(Window(name, began_s, time.monotonic()))
        self.tell(f"  {what}; at rest {time.monotonic() - over_s:.1f} s after")

    def _wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline_s = time.monotonic() + AT_REST_WITHIN_S
        while not condition():
            if time.monotonic() > deadline_s:
                owned = {member.name: sorted(member.assigned) for member in self.present()}
                raise NotAtRestError(f"{otherwise}; {owned}; {self._backlog()}")
            time.sleep(0.05)

    def _is_shared(self) -> bool:
        """Whether every partition is one member's, and every member has some."""
        present = self.present()
        owned = [number for member in present for number in member.assigned]
        return sorted(owned) == list(range(self.partitions)) and all(
            member.assigned for member in present
        )

    def _reached(self) -> dict[int, int]:
        reached = dict.fromkeys(range(self.partitions), 0)
        for event in self._journal.events():
            if event.what == "processed":
                partition, offset = event.detail["partition"], event.detail["offset"]
                reached[partition] = max(reached[partition], offset + 1)
        return reached

    def _is_processed(self, ends: dict[int, int]) -> bool:
        reached = self._reached()
        return all(reached[partition] >= end for partition, end in ends.items())

    def _is_committed(self) -> bool:
        committed = self._watching.committed()
        return all(committed.get(part, 0) == end for part, end in self._writing.ends().items())

    def _backlog(self) -> str:
        reached, committed = self._reached(), self._watching.committed()
        return "partition processed/committed/end: " + ", ".join(
            f"{partition} {reached[partition]}/{committed.get(partition)}/{end}"
            for partition, end in self._writing.ends().items()
        )


def in_random_order(draw: random.Random, count: int) -> list[Fault]:
    """Return faults: every one once, in random order, before any comes again."""
    rows = range(-(-count // len(FAULTS)))
    return [fault for _ in rows for fault in draw.sample(FAULTS, len(FAULTS))][:count]
