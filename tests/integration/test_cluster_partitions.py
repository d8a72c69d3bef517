"""Who is cut off from the others acknowledges nothing, and shows nothing that is cut afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.cluster import controller_of, leader_of
from tests.chaos.processes import ProcessCluster, process_cluster
from tests.integration.cluster_load import account_is_clean, acknowledging, healed, load
from tests.integration.cluster_requests import DEADLINE_S, QUICK, RETRIABLE, fetch, produce

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProcessCluster]:
    """Three brokers whose links can be cut; clients reach all of them."""
    settings = [f"{key}={value}" for key, value in QUICK.items()]
    directory = tmp_path_factory.mktemp("cluster")
    async with process_cluster(directory, settings=settings) as processes:
        yield processes


async def test_isolated_leader_acknowledges_nothing_and_nobody_reads_what_is_cut(
    cluster: ProcessCluster,
) -> None:
    topic = "isolated"
    async with load(cluster.bootstrap, topic) as workload:
        await healed(cluster.bootstrap, topic, workload)
        leader = await leader_of(cluster.bootstrap, topic)
        address = cluster.brokers[leader].grpc_address

        await cluster.isolate(leader)

        # It believes that it leads, and appends; that is all that acks=1 promises.
        alone = await produce(address, topic, b"ghost", acks=1, timeout_ms=1_000)
        assert not alone.error.code, alone
        for_all = await produce(address, topic, b"ghost", timeout_ms=1_000)
        assert for_all.error.code in RETRIABLE, for_all
        seen = await fetch(address, topic, alone.base_offset)
        assert not seen.records
        await acknowledging(workload)
        seen = await fetch(address, topic, alone.base_offset)
        assert not seen.records

        await cluster.reconnect(leader)

        await healed(cluster.bootstrap, topic, workload)
        await _follows(address, topic)
        # The ghost would be a value that nobody sent.
        await account_is_clean(workload)


async def _follows(address: str, topic: str) -> None:
    """Wait until who was cut off knows that it does not lead, or leads anew."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            answer = await fetch(address, topic, 0)
            if answer.error.code in RETRIABLE or answer.records[0].value != b"ghost":
                return
            await asyncio.sleep(0.05)


async def test_writes_go_on_without_a_broker_that_hears_nothing_or_is_not_heard(
    cluster: ProcessCluster,
) -> None:
    topic = "one-way"
    async with load(cluster.bootstrap, topic) as workload:
        for deaf in (True, False):
            for is_controller in (False, True):
                await healed(cluster.bootstrap, topic, workload)
                controller = await controller_of(cluster.bootstrap)
                victim = controller if is_controller else (controller + 1) % 3

                await cluster.isolate_one_way(victim, deaf=deaf)

                await acknowledging(workload)
                await cluster.reconnect(victim)
        await healed(cluster.bootstrap, topic, workload)
        await account_is_clean(workload)
