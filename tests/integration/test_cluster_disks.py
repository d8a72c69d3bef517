"""Brokers come with empty disks: new ones, replaced ones, and voters that have forgotten all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator

import pytest

from ottla.client import Admin
from ottla.model.ids import TopicPartition
from ottla.testing.broker_process import BrokerProcess
from ottla.testing.cluster_processes import ClusterProcesses
from tests.chaos.cluster import controller_of, wait_healed
from tests.integration.cluster_load import account_is_clean, healed, load
from tests.integration.cluster_requests import DEADLINE_S, QUICK

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    directory = tmp_path_factory.mktemp("cluster")
    with ClusterProcesses(data_directory=directory, settings=QUICK) as processes:
        yield processes


@pytest.fixture
def added(cluster: ClusterProcesses) -> Iterator[BrokerProcess]:
    """A fourth broker, not started; it does not vote."""
    directory = cluster.directory_of(3).parent
    same = [word.replace("node.id=0", "node.id=3") for word in cluster.brokers[0].arguments]
    broker = BrokerProcess(data_directory=directory, subcommand=("broker",), arguments=same)
    yield broker
    broker.leave()


async def test_added_broker_takes_replicas_and_gets_them_back_when_its_disk_is_replaced(
    cluster: ClusterProcesses, added: BrokerProcess
) -> None:
    topic = "moved"
    async with load(cluster.bootstrap, topic) as workload:
        await healed(cluster.bootstrap, topic, workload)

        await asyncio.to_thread(added.start)

        async with Admin(bootstrap_servers=cluster.bootstrap) as admin:
            await admin.reassign({TopicPartition(topic, 0): (3, 0, 1)})
            await _moved(admin, topic, (3, 0, 1))
        await healed(cluster.bootstrap, topic, workload)

        added.kill()
        shutil.rmtree(cluster.directory_of(3))
        await asyncio.to_thread(added.start)

        await healed(cluster.bootstrap, topic, workload)
        await account_is_clean(workload)


async def _moved(admin: Admin, topic: str, replicas: tuple[int, ...]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            (described,) = await admin.describe_topics([topic])
            if described.partitions[0].replicas == replicas:
                return
            await asyncio.sleep(0.05)


async def test_voter_that_forgot_its_votes_is_refused_with_a_reason_until_it_is_readmitted(
    cluster: ClusterProcesses,
) -> None:
    topic = "voted"
    async with load(cluster.bootstrap, topic) as workload:
        await healed(cluster.bootstrap, topic, workload)
        victim = (await controller_of(cluster.bootstrap) + 1) % 3
        wiped = cluster.brokers[victim]
        wiped.kill()
        shutil.rmtree(cluster.directory_of(victim))

        wiped.launch()

        async with Admin(bootstrap_servers=cluster.bootstrap) as admin:
            offered = await _offered(admin, victim)
            await _says(wiped, f"ottla cluster readmit-voter {victim}")
            await admin.readmit_voter(victim, offered)
        await asyncio.to_thread(wiped.wait_ready)
        await wait_healed(cluster.bootstrap, topic)
        await account_is_clean(workload)


async def _offered(admin: Admin, broker: int) -> bytes:
    """Wait until the quorum has refused a directory of a voter, and return which."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            nodes = {node.broker_id: node for node in (await admin.describe_quorum()).nodes}
            offered = nodes[broker].offered_directory_id
            if offered is not None:
                return offered
            await asyncio.sleep(0.05)


async def _says(broker: BrokerProcess, words: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if words in broker.stderr():
                return
            await asyncio.sleep(0.05)
