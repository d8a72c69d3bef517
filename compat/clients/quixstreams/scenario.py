"""A Quix Streams application: a stateful pipeline from one topic to another, with a changelog.

Run it with ``python -m compat.clients.quixstreams.scenario 127.0.0.1:9092``.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from typing import Any

from quixstreams import Application

from compat.clients.steps import PATIENCE_S, RECORDS, Steps, new_name

KEYS = 5


class Scenario:
    """Sums are kept by key; they survive a restart because the changelog topic has them."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.source = new_name("quix-source")
        self.sums = new_name("quix-sums")
        self.group = new_name("quix")

    def run(self) -> int:
        steps = Steps()
        with steps("produce"):
            self.produce(range(RECORDS))
        with steps("a stateful pipeline with a changelog topic"):
            self.pipeline()
            assert self.last_sums(RECORDS) == self.expected(RECORDS)
        with steps("its state comes back from the changelog"):
            self.produce(range(RECORDS, 2 * RECORDS))
            self.pipeline()
            assert self.last_sums(2 * RECORDS) == self.expected(2 * RECORDS)
        with steps("windows"):
            self.windows()
        return steps.status()

    def application(self, state: str, group: str) -> Application:
        return Application(
            broker_address=self.bootstrap,
            consumer_group=group,
            auto_offset_reset="earliest",
            state_dir=state,
            commit_interval=0.5,
            loglevel=logging.WARNING,
        )

    @staticmethod
    def expected(count: int) -> dict[str, int]:
        sums: dict[str, int] = {}
        for i in range(count):
            sums[f"key-{i % KEYS}"] = sums.get(f"key-{i % KEYS}", 0) + i
        return sums

    def produce(self, numbers: range) -> None:
        with tempfile.TemporaryDirectory() as state:
            application = self.application(state, self.group)
            topic = application.topic(self.source, value_serializer="json")
            with application.get_producer() as producer:
                for i in numbers:
                    message = topic.serialize(key=f"key-{i % KEYS}", value={"number": i})
                    producer.produce(topic.name, key=message.key, value=message.value)

    def pipeline(self) -> None:
        """Read all of the source with an empty state directory and write running sums."""
        with tempfile.TemporaryDirectory() as state:
            application = self.application(state, self.group)
            source = application.topic(self.source, value_deserializer="json")
            target = application.topic(self.sums, value_serializer="json")

            def add(value: dict[str, int], store: Any) -> dict[str, int]:  # noqa: ANN401 -- Quix's state
                total: int = store.get("total", 0) + value["number"]
                store.set("total", total)
                return {"total": total}

            frame = application.dataframe(source)
            frame = frame.apply(add, stateful=True)
            frame.to_topic(target)
            application.run(count=RECORDS, timeout=PATIENCE_S)

    def last_sums(self, count: int) -> dict[str, int]:
        """Read the running sums with a plain consumer; return the last one of each key."""
        sums: dict[str, int] = {}
        seen = 0
        with tempfile.TemporaryDirectory() as state:
            application = self.application(state, new_name("quix-reader"))
            topic = application.topic(self.sums, value_deserializer="json")
            deadline_s = time.monotonic() + PATIENCE_S
            with application.get_consumer() as consumer:
                consumer.subscribe([self.sums])
                while seen < count:
                    assert time.monotonic() < deadline_s, f"{seen} of {count} sums came"
                    message = consumer.poll(0.2)
                    if message is not None and message.error() is None:
                        row = topic.deserialize(message)
                        sums[row.key.decode()] = row.value["total"]
                        seen += 1
        return sums

    def windows(self) -> None:
        """Count in tumbling windows of event time."""
        with tempfile.TemporaryDirectory() as state:
            application = self.application(state, new_name("quix-windows"))
            source = application.topic(self.source, value_deserializer="json")
            frame = application.dataframe(source)
            frame = frame.tumbling_window(duration_ms=3_600_000).count().current()
            counted: list[int] = []
            frame = frame.update(lambda value: counted.append(value["value"]))
            application.run(count=2 * RECORDS, timeout=PATIENCE_S)
        assert counted, "no window"
        assert max(counted) <= 2 * RECORDS // KEYS


if __name__ == "__main__":
    sys.exit(Scenario(sys.argv[1]).run())
