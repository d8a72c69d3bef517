"""What do 1,000 partitions with three replicas each cost three brokers of one machine?"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import uvloop

from benchmarks.report import Figure
from ottla.client import Admin, NewTopic
from ottla.model.errors import OttlaError
from ottla.testing.cluster_processes import ClusterProcesses

TOPICS = 10
PARTITIONS_PER_TOPIC = 100
TIMEOUT_S = 60.0


def measure(directory: Path) -> list[Figure]:
    """Create them, lose a broker, restart everything."""
    with ClusterProcesses(data_directory=directory / "many") as cluster:
        created_s = uvloop.run(_create(cluster.bootstrap))
        uvloop.run(_wait(cluster.bootstrap, lost=None))
        cluster.brokers[0].kill()
        killed_s = time.perf_counter()
        others = ",".join(broker.grpc_address for broker in cluster.brokers[1:])
        uvloop.run(_wait(others, lost=0))
        elected_s = time.perf_counter() - killed_s
        cluster.brokers[0].start()
        uvloop.run(_wait(cluster.bootstrap, lost=None))
        cluster.stop()
        stopped_s = time.perf_counter()
        cluster.start()
        uvloop.run(_wait(cluster.bootstrap, lost=None, in_sync=False))
        ready_s = time.perf_counter() - stopped_s
    return [
        Figure(
            name=f"create {TOPICS * PARTITIONS_PER_TOPIC:,} partitions, RF 3",
            unit="s",
            rounds=[created_s],
            goal=10,
            lower_is_better=True,
        ),
        Figure(
            name="... kill -9 of a broker until others lead all of its partitions",
            unit="s",
            rounds=[elected_s],
            goal=3,
            lower_is_better=True,
        ),
        Figure(
            name="... all three stopped: start to every partition led",
            unit="s",
            rounds=[ready_s],
            goal=10,
            lower_is_better=True,
        ),
    ]


async def _create(bootstrap: str) -> float:
    started = time.perf_counter()
    async with Admin(bootstrap_servers=bootstrap, request_timeout_ms=60_000) as admin:
        for number in range(TOPICS):
            topic = NewTopic(
                f"many-{number}", partitions=PARTITIONS_PER_TOPIC, replication_factor=3
            )
            await admin.create_topics([topic])
    return time.perf_counter() - started


async def _wait(bootstrap: str, *, lost: int | None, in_sync: bool = True) -> None:
    """Wait until everything is led, by others than ``lost``; and in sync, if nobody is lost."""
    async with (
        asyncio.timeout(TIMEOUT_S),
        Admin(bootstrap_servers=bootstrap, request_timeout_ms=5_000) as admin,
    ):
        while True:
            try:
                cluster = await admin.describe_cluster()
                topics = await admin.describe_topics()
            except OttlaError:
                await asyncio.sleep(0.05)
                continue
            leaders = {part.leader for topic in topics for part in topic.partitions}
            led = leaders and lost not in leaders and -1 not in leaders
            whole = not in_sync or lost is not None or not cluster.under_replicated_partitions
            if led and whole and len(topics) == TOPICS:
                return
            await asyncio.sleep(0.05)
