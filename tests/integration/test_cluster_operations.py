"""Brokers come, go and lose their disks while records are written and read, and none is lost."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import pytest

from ottla.client import Admin
from ottla.model.errors import OttlaError
from ottla.testing.cluster_processes import ClusterProcesses
from ottla.testing.workload import Workload

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(90)]

OTTLA = (sys.executable, "-m", "ottla")
NEW = 3
"""The broker that joins later; it does not vote."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    settings = {"log.ephemeral": "true"}
    directory = tmp_path_factory.mktemp("operations")
    with ClusterProcesses(size=4, later=1, data_directory=directory, settings=settings) as brokers:
        yield brokers


@pytest.fixture
async def admin(cluster: ClusterProcesses) -> AsyncIterator[Admin]:
    async with Admin(cluster.bootstrap) as client:
        yield client


async def ottla(cluster: ClusterProcesses, *arguments: str) -> str:
    """Run a command; return what it prints, standard error included."""
    process = await asyncio.create_subprocess_exec(
        *OTTLA,
        "--bootstrap",
        cluster.bootstrap,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def replicas_of(admin: Admin, topic: str) -> list[int]:
    """Return the broker of each replica that is in sync, of all partitions."""
    (described,) = await admin.describe_topics([topic])
    return [broker for part in described.partitions for broker in part.in_sync_replicas]


async def until(condition: Callable[[], object], otherwise: str) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s, otherwise
        await asyncio.sleep(0.05)


async def until_in_sync(admin: Admin, topic: str, broker_id: int, count: int) -> None:
    deadline_s = time.monotonic() + 20
    while (await replicas_of(admin, topic)).count(broker_id) < count:
        assert time.monotonic() < deadline_s, f"broker {broker_id} does not catch up"
        await asyncio.sleep(0.05)


async def until_refused(admin: Admin, voter: int) -> None:
    """Wait until the leader of the quorum refuses a voter for having another directory."""
    deadline_s = time.monotonic() + 20
    while True:
        with suppress(OttlaError):  # the leader that one knows of may be the one that was killed
            quorum = await admin.describe_quorum((await admin.describe_quorum()).leader_id)
            if any(node.offered_directory_id and node.broker_id == voter for node in quorum.nodes):
                return
        assert time.monotonic() < deadline_s, f"nobody refuses voter {voter}"
        await asyncio.sleep(0.05)


async def test_broker_is_added_filled_drained_and_removed_under_load(
    cluster: ClusterProcesses, admin: Admin
) -> None:
    new = cluster.brokers[NEW]
    async with Workload(
        cluster.bootstrap, topic="moves", partitions=4, records_per_second=100
    ) as work:
        await asyncio.to_thread(new.start)

        plan, result = map(
            json.loads,
            (await ottla(cluster, "cluster", "rebalance", "--yes", "--json")).splitlines(),
        )
        shares = {load["broker_id"]: load["replicas"] for load in plan["brokers"]}
        assert shares == {0: 3, 1: 3, 2: 3, NEW: 3}
        assert len(result["moved"]) == len(plan["moves"])
        assert (await replicas_of(admin, "moves")).count(NEW) == shares[NEW]

        drained = await ottla(cluster, "cluster", "drain", str(NEW), "--yes")
        assert f"then 'ottla cluster remove {NEW}'" in drained
        assert NEW not in await replicas_of(admin, "moves")
        await until(
            lambda: not list(cluster.directory_of(NEW).glob("moves-?")), "the logs stay there"
        )

        await asyncio.to_thread(new.stop)
        await ottla(cluster, "cluster", "remove", str(NEW))
        assert NEW not in {broker.broker_id for broker in (await admin.describe_cluster()).brokers}

        findings = await work.finish()
    assert findings.is_clean, findings


async def test_voter_that_lost_its_disk_is_refused_until_it_is_readmitted(
    cluster: ClusterProcesses, admin: Admin
) -> None:
    wiped = cluster.brokers[2]
    async with Workload(
        cluster.bootstrap, topic="wiped", partitions=3, records_per_second=100
    ) as work:
        await work.wait_acknowledged_everywhere(after_s=0, timeout_s=10)
        wiped.kill()
        shutil.rmtree(cluster.directory_of(2))
        wiped.launch()

        await until_refused(admin, 2)
        printed = await ottla(cluster, "cluster", "readmit-voter", "2", "--yes")
        assert "broker 2 votes again" in printed
        await asyncio.to_thread(wiped.wait_ready)
        await until_in_sync(admin, "wiped", 2, count=3)

        findings = await work.finish()
    assert findings.is_clean, findings
