"""One broker's disk fills up, another's is replaced by an empty one, and writes go on."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator

import pytest

from ottla.client import Admin
from ottla.model.ids import TopicPartition
from ottla.testing.cluster_processes import ClusterProcesses
from tests.chaos.cluster import leader_of
from tests.integration.cluster_load import account_is_clean, acknowledging, healed, load
from tests.integration.cluster_requests import DEADLINE_S, QUICK
from tests.integration.small_disk import SmallDisk

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk of a chosen size"),
]

SMALL = 1
"""The broker with the small disk."""
OBSERVER = 3
"""A broker that does not vote; it is started later."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path_factory.mktemp("cluster") / f"broker-{SMALL}")
    yield disk
    disk.unmount()


@pytest.fixture(scope="module")
def cluster(disk: SmallDisk) -> Iterator[ClusterProcesses]:
    directory = disk.directory.parent
    with ClusterProcesses(size=4, later=1, data_directory=directory, settings=QUICK) as processes:
        yield processes


async def test_full_disk_of_a_broker_that_leads_and_follows_stops_no_writes(
    cluster: ClusterProcesses, disk: SmallDisk
) -> None:
    topic = "full"
    async with load(cluster.bootstrap, topic) as workload:
        await healed(cluster.bootstrap, topic, workload)
        small = cluster.brokers[SMALL]
        led = {await leader_of(cluster.bootstrap, topic, number) for number in range(3)}
        assert SMALL in led

        disk.fill()

        await _leads_nothing(cluster.bootstrap, topic, SMALL)
        await acknowledging(workload)
        assert "is full; free some space, then restart the broker" in small.stderr()

        disk.clear()
        await asyncio.to_thread(small.stop)
        await asyncio.to_thread(small.start)
        await healed(cluster.bootstrap, topic, workload)
        await account_is_clean(workload)


async def _leads_nothing(bootstrap: str, topic: str, broker: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if broker not in {await leader_of(bootstrap, topic, number) for number in range(3)}:
                return
            await asyncio.sleep(0.05)


async def test_replaced_disk_of_a_follower_that_does_not_vote_gets_everything_again(
    cluster: ClusterProcesses,
) -> None:
    topic, observer = "replaced", cluster.brokers[OBSERVER]
    async with load(cluster.bootstrap, topic, partitions=1) as workload:
        await asyncio.to_thread(observer.start)
        async with Admin(bootstrap_servers=cluster.bootstrap) as admin:
            replicas = (0, 2, OBSERVER)
            await admin.reassign({TopicPartition(topic, 0): replicas})
            await _moved(admin, topic, replicas)
        await healed(cluster.bootstrap, topic, workload)

        observer.kill()
        shutil.rmtree(cluster.directory_of(OBSERVER))
        await asyncio.to_thread(observer.start)

        await healed(cluster.bootstrap, topic, workload)
        await account_is_clean(workload)


async def _moved(admin: Admin, topic: str, replicas: tuple[int, ...]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            (described,) = await admin.describe_topics([topic])
            if described.partitions[0].replicas == replicas:
                return
            await asyncio.sleep(0.05)
