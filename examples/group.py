"""Two members of a group share a topic; one leaves in the middle, and the other goes on for it.

    ottla up                     # in another terminal
    python examples/group.py     # or with the address of a broker's gRPC port

Forty orders are sent to four partitions. Each member takes the orders of the partitions that the
group gives it; when the second has seen five, it leaves, and what it was done with is committed.
No order is missed. Try it again: the group goes on where it was.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from ottla.client import Admin, Consumer, NewTopic, Producer, RebalanceListener, TopicPartition
from ottla.model.errors import TopicAlreadyExistsError

TOPIC, GROUP = "orders", "billing"
PARTITIONS, ORDERS = 4, 40


class Says(RebalanceListener):
    """Says which partitions come and go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.has_partitions = asyncio.Event()

    async def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.has_partitions.set()
        print(f"{self.name} reads {_numbers(partitions)}")

    async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        print(f"{self.name} gives up {_numbers(partitions)}")


async def work(name: str, bootstrap: str, seen: set[bytes], *, says: Says, leave_after: int) -> int:
    """Take orders until all were seen, or so many by this member; return how many it took."""
    consumer = Consumer(bootstrap_servers=bootstrap, group_id=GROUP, auto_offset_reset="earliest")
    consumer.subscribe(TOPIC, listener=says)
    taken = 0
    async with consumer:
        while len(seen) < ORDERS and taken < leave_after:
            for records in (await consumer.getmany(timeout_ms=100, max_records=5)).values():
                seen.update(record.value for record in records)
                taken += len(records)
    print(f"{name} leaves after {taken} orders")
    return taken


async def main(bootstrap: str) -> None:
    """Send orders, and share the work of them."""
    async with Admin(bootstrap) as admin:
        try:
            await admin.create_topics([NewTopic(TOPIC, partitions=PARTITIONS)])
        except TopicAlreadyExistsError:
            print("going on where the group was the last time")
    seen: set[bytes] = set()
    first, second = Says("first"), Says("second")
    members = [
        asyncio.create_task(work("first", bootstrap, seen, says=first, leave_after=ORDERS)),
        asyncio.create_task(work("second", bootstrap, seen, says=second, leave_after=5)),
    ]
    await asyncio.gather(first.has_partitions.wait(), second.has_partitions.wait())
    async with Producer(bootstrap) as producer:
        for number in range(ORDERS):
            await producer.send(TOPIC, f"order {number}".encode(), partition=number % PARTITIONS)
    await asyncio.gather(*members)
    print(f"{len(seen)} of {ORDERS} orders were seen")


def _numbers(partitions: Sequence[TopicPartition]) -> str:
    return ", ".join(str(number) for _, number in sorted(partitions))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7092"))
