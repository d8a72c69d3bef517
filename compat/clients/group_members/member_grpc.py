"""A member of a group by gRPC: processes, then commits, and tells of both.

python member_grpc.py BOOTSTRAP GROUP TOPIC consumer SESSION_MS NAME
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

from ottla.client import Consumer, OffsetAndMetadata
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition

RECORDS_MAX = 50

bootstrap, group, topic, _, _, name = sys.argv[1:]


def tell(event: str, **what: object) -> None:
    print(json.dumps({"at": time.monotonic(), "event": event, **what}), flush=True)


class Told:
    """Tells of partitions that go."""

    async def on_partitions_assigned(self, partitions: object) -> None:
        """They are told of where the assignment is looked at."""

    async def on_partitions_revoked(self, partitions: set[TopicPartition]) -> None:
        tell("revoked", partitions=[one.partition for one in partitions])

    async def on_partitions_lost(self, partitions: set[TopicPartition]) -> None:
        tell("lost", partitions=[one.partition for one in partitions])


async def read(consumer: Consumer, stopping: asyncio.Event) -> None:
    told: list[int] | None = None
    while not stopping.is_set():
        offsets = {}
        for place, records in (
            await consumer.getmany(timeout_ms=100, max_records=RECORDS_MAX)
        ).items():
            for record in records:
                value = bytes(record.value or b"").decode()
                tell("processed", partition=place.partition, offset=record.offset, value=value)
            offsets[place] = OffsetAndMetadata(records[-1].offset + 1, metadata=name)
        if offsets:
            plain = {place.partition: one.offset for place, one in offsets.items()}
            try:
                await consumer.commit(offsets)
            except OttlaError as error:
                tell("not committed", offsets=plain, why=f"{type(error).__name__}: {error}")
            else:
                tell("committed", offsets=plain)
        assigned = sorted(one.partition for one in consumer.assignment())
        if assigned != told:
            told = assigned
            tell("assigned", partitions=assigned)


async def main() -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    consumer = Consumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.subscribe(topic, listener=Told())
    async with consumer:
        await read(consumer, stopping)
    tell("left")


asyncio.run(main())
