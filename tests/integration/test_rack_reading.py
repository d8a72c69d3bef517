"""A consumer in a rack is served by the follower there, and does not need the leader meanwhile."""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from ottla.client import Admin, Consumer, NewTopic, Producer
from ottla.model.ids import TopicPartition
from ottla.testing.broker_process import BrokerProcess
from ottla.testing.cluster_processes import ClusterProcesses

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

OTTLA = (sys.executable, "-m", "ottla")
RACKS = ("north", "east", "south")
RECORDS = 2_000
DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterProcesses]:
    """Three racks. Nobody is replaced while a test lasts, however long it hangs."""
    racks = {number: {"broker.rack": rack} for number, rack in enumerate(RACKS)}
    settings = {"broker.session.timeout.ms": "60000", "replica.lag.time.max.ms": "60000"}
    with ClusterProcesses(settings=settings, settings_of=racks) as brokers:
        yield brokers


@pytest.fixture
async def topic(cluster: ClusterProcesses, request: pytest.FixtureRequest) -> str:
    """One partition with numbered records of about 500 bytes."""
    name: str = request.function.__name__
    async with Admin(cluster.bootstrap) as admin, Producer(cluster.bootstrap) as producer:
        await admin.create_topics([NewTopic(name, partitions=1, replication_factor=3)])
        for number in range(RECORDS):
            await producer.send(name, b"%0500d" % number)
        await producer.flush()
    return name


async def leader_and_follower(cluster: ClusterProcesses, topic: str) -> tuple[int, int]:
    async with Admin(cluster.bootstrap) as admin:
        (described,) = await admin.describe_topics([topic])
        part = described.partitions[0]
        follower = next(each for each in part.in_sync_replicas if each != part.leader)
        return part.leader, follower


def reading(cluster: ClusterProcesses, topic: str, broker_id: int) -> Consumer:
    """A consumer in the rack of a broker; it is given little at a time."""
    return Consumer(
        topic,
        bootstrap_servers=cluster.bootstrap,
        auto_offset_reset="earliest",
        client_rack=RACKS[broker_id],
        prefetch_bytes=100_000,
    )


async def take(consumer: Consumer, count: int) -> list[int]:
    """Take exactly so many records; the numbers in them."""
    async with asyncio.timeout(DEADLINE_S):
        return [int((await consumer.getone()).value or b"") for _ in range(count)]


async def fetched_bytes(broker: BrokerProcess, topic: str) -> float:
    """What a broker has sent of a topic to readers."""

    def scrape() -> str:
        with urllib.request.urlopen(f"{broker.http_url}/metrics", timeout=DEADLINE_S) as page:
            content: bytes = page.read()
        return content.decode()

    prefix = f'ottla_fetched_bytes_total{{topic="{topic}"}} '
    lines = (await asyncio.to_thread(scrape)).splitlines()
    return sum(float(line.removeprefix(prefix)) for line in lines if line.startswith(prefix))


async def test_records_come_from_the_follower_in_the_rack(
    cluster: ClusterProcesses, topic: str
) -> None:
    leader, follower = await leader_and_follower(cluster, topic)
    async with reading(cluster, topic, follower) as consumer:
        assert await take(consumer, RECORDS) == list(range(RECORDS))

    near, far = cluster.brokers[follower], cluster.brokers[leader]
    assert await fetched_bytes(near, topic) > RECORDS * 500 * 0.7
    assert await fetched_bytes(far, topic) < RECORDS * 500 * 0.3


async def test_command_reads_in_its_rack(cluster: ClusterProcesses, topic: str) -> None:
    _, follower = await leader_and_follower(cluster, topic)
    process = await asyncio.create_subprocess_exec(
        *OTTLA,
        *("--bootstrap", cluster.bootstrap, "consume", topic, "--from-beginning"),
        *("--rack", RACKS[follower]),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()

    assert [int(line) for line in printed.split()] == list(range(RECORDS))


async def test_reading_goes_on_while_the_leader_hangs(
    cluster: ClusterProcesses, topic: str
) -> None:
    leader, follower = await leader_and_follower(cluster, topic)
    near = cluster.brokers[follower]
    partition = TopicPartition(topic, 0)
    async with (
        reading(cluster, topic, follower) as ahead,
        reading(cluster, topic, follower) as behind,
    ):
        # What one has read, the follower knows to be committed.
        await take(ahead, RECORDS)
        sent = await fetched_bytes(near, topic)
        seen = await take(behind, 500)
        assert await fetched_bytes(near, topic) > sent
        cluster.brokers[leader].pause()
        try:
            seen += await take(behind, RECORDS - 500)
            assert await behind.position(partition) == RECORDS
        finally:
            cluster.brokers[leader].resume()

    assert seen == list(range(RECORDS))
