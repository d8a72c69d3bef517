"""Whoever of three brokers dies, hangs or restarts: nothing acknowledged is lost or repeated."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

import pytest

from ottla.client import Admin, NewTopic
from ottla.model.errors import OttlaError, RetriableError
from ottla.testing.broker_process import BrokerProcess
from ottla.testing.cluster_processes import ClusterProcesses
from tests.chaos.cluster import controller_of, leader_of
from tests.integration.cluster_load import account_is_clean, acknowledging, healed, load
from tests.integration.cluster_requests import DEADLINE_S, QUICK, RETRIABLE, have_lead, produce

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(180)]

UNKNOWN = b"appended or not"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    directory = tmp_path_factory.mktemp("cluster")
    with ClusterProcesses(data_directory=directory, settings=QUICK) as processes:
        yield processes


@pytest.fixture
def cluster(shared: ClusterProcesses) -> ClusterProcesses:
    """Three brokers that run, whatever the test before did to them."""
    return shared.start()


async def start(broker: BrokerProcess) -> None:
    await asyncio.to_thread(broker.start)


async def test_kill_9_of_the_leader_of_the_controller_and_of_both(
    cluster: ClusterProcesses,
) -> None:
    topic = "kills"
    async with load(cluster.bootstrap, topic, partitions=1) as workload:
        for leads, controls in ((True, False), (False, True), (True, True)):
            await healed(cluster.bootstrap, topic, workload)
            controller = await controller_of(cluster.bootstrap)
            other = (controller + 1) % 3
            async with Admin(bootstrap_servers=cluster.bootstrap) as admin:
                await have_lead(admin, topic, controller if leads and controls else other)
            victim = cluster.brokers[controller if controls else other]

            victim.kill()

            await acknowledging(workload)
            await start(victim)
        await healed(cluster.bootstrap, topic, workload)
        await account_is_clean(workload)


async def test_broker_that_hangs_is_not_waited_for_and_acknowledges_nothing_that_is_not_there(
    cluster: ClusterProcesses,
) -> None:
    topic = "hangs"
    async with load(cluster.bootstrap, topic) as workload:
        await healed(cluster.bootstrap, topic, workload)
        leader = await leader_of(cluster.bootstrap, topic)
        hanging = cluster.brokers[leader]

        hanging.pause()
        to_the_hanging_one = asyncio.create_task(
            produce(hanging.grpc_address, topic, b"stale", timeout_ms=10_000)
        )
        await acknowledging(workload)
        async with Admin(bootstrap_servers=cluster.bootstrap) as admin:
            (described,) = await admin.describe_topics([topic])
        # It led one partition and followed the leaders of the others.
        assert all(leader not in part.in_sync_replicas for part in described.partitions)
        hanging.resume()

        answer = await to_the_hanging_one
        assert answer.error.code in RETRIABLE, answer
        await healed(cluster.bootstrap, topic, workload)
        # The value that nobody may read is not in the account.
        await account_is_clean(workload)


async def test_rolling_restart_is_not_noticed_by_clients(
    cluster: ClusterProcesses,
) -> None:
    topic = "rolling"
    async with load(cluster.bootstrap, topic) as workload:
        for broker in cluster.brokers:
            await healed(cluster.bootstrap, topic, workload)
            assert await asyncio.to_thread(broker.stop) == 0
            await start(broker)
        await healed(cluster.bootstrap, topic, workload)
        await account_is_clean(workload)
        longest_s = workload.history.longest_silence_s()
    sys.stdout.write(f"longest pause of a rolling restart: {longest_s * 1e3:.0f} ms\n")


async def test_without_a_majority_writes_are_refused_in_time_and_nothing_hangs(
    cluster: ClusterProcesses,
) -> None:
    topic = "majority"
    async with load(cluster.bootstrap, topic) as workload:
        await healed(cluster.bootstrap, topic, workload)
        controller = await controller_of(cluster.bootstrap)
        dead = [cluster.brokers[controller], cluster.brokers[(controller + 1) % 3]]
        left = (controller + 2) % 3
        address = cluster.brokers[left].grpc_address
        async with Admin(bootstrap_servers=cluster.bootstrap) as admin:
            await have_lead(admin, topic, left)

        for broker in dead:
            broker.kill()

        await _refused_and_answered(address, topic)
        await asyncio.gather(*(start(broker) for broker in dead))
        await healed(cluster.bootstrap, topic, workload)
        await account_is_clean(workload, unknown=[UNKNOWN])


async def _refused_and_answered(address: str, topic: str) -> None:
    began_s = time.monotonic()
    answer = await produce(address, topic, UNKNOWN, timeout_ms=1_500)
    assert answer.error.code in RETRIABLE
    assert answer.error.message
    async with Admin(bootstrap_servers=address, request_timeout_ms=1_500) as admin:
        (description,) = await admin.describe_topics([topic])
        assert len(description.partitions) == 3
        assert len((await admin.describe_cluster()).brokers) == 3
        with pytest.raises(RetriableError) as refused:
            await admin.create_topics([NewTopic("never")])
    assert isinstance(refused.value, OttlaError)
    assert time.monotonic() - began_s < DEADLINE_S


async def test_all_killed_at_once_and_started_in_any_order(cluster: ClusterProcesses) -> None:
    topic = "all"
    async with load(cluster.bootstrap, topic) as workload:
        for order in ((0, 1, 2), (2, 0, 1)):
            await healed(cluster.bootstrap, topic, workload)
            first, second, third = (cluster.brokers[number] for number in order)

            cluster.kill()

            first.launch()
            await _port_open(first)
            await start(second)
            await asyncio.to_thread(first.wait_ready)
            await acknowledging(workload)
            await start(third)
        await healed(cluster.bootstrap, topic, workload)
        await account_is_clean(workload)


async def _port_open(broker: BrokerProcess) -> None:
    """Wait until a broker that cannot be ready yet listens."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", broker.grpc_port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
