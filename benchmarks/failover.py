"""How long is nothing acknowledged when a broker is lost?

One partition with three replicas and a producer that always has records under way. A broker is
killed, or asked to stop; what counts is the time from then to the next acknowledgement. Then the
broker is started again, and everything is in sync before the next round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from benchmarks.report import Figure
from ottla.client import Admin
from ottla.model.ids import TopicPartition
from ottla.testing.cluster_processes import ClusterProcesses
from ottla.testing.workload import Workload

ROUNDS = 20
TOPIC = "failover"
HEALED_TIMEOUT_S = 30.0
RECORDS_PER_SECOND = 200


class Loss(NamedTuple):
    """Which broker is lost, and how."""

    name: str
    leads: bool
    """Whether it leads the partition."""
    controls: bool | None
    """Whether it is the controller; ``None``: whatever it happens to be."""
    graceful: bool
    goal_ms: int


LOSSES: Final = (
    Loss("kill -9 of a leader", leads=True, controls=False, graceful=False, goal_ms=1_000),
    Loss("kill -9 of the controller", leads=False, controls=True, graceful=False, goal_ms=1_000),
    Loss(
        "kill -9 of a leader and controller",
        leads=True,
        controls=True,
        graceful=False,
        goal_ms=1_000,
    ),
    Loss("graceful stop of a leader", leads=True, controls=None, graceful=True, goal_ms=200),
)


def measure(directory: Path) -> list[Figure]:
    """Lose a leader, a controller, a broker that is both; then restart a leader in good order."""
    with ClusterProcesses(data_directory=directory / "failover") as cluster:
        found = uvloop.run(_measure(cluster))
    return [
        Figure(
            name=f"{loss.name}: longest time without an acknowledged write",
            unit="ms",
            rounds=found[loss],
            goal=loss.goal_ms,
            lower_is_better=True,
        )
        for loss in LOSSES
    ]


async def _measure(cluster: ClusterProcesses) -> dict[Loss, list[float]]:
    found: dict[Loss, list[float]] = {}
    async with (
        Admin(bootstrap_servers=cluster.bootstrap, request_timeout_ms=2_000) as admin,
        Workload(
            cluster.bootstrap,
            topic=TOPIC,
            partitions=1,
            producers=1,
            consumers=0,
            configs={"min.insync.replicas": "2"},
            records_per_second=RECORDS_PER_SECOND,
        ) as workload,
    ):
        for loss in LOSSES:
            found[loss] = [await _round(cluster, admin, workload, loss) for _ in range(ROUNDS)]
        findings = await workload.finish()
        assert findings.is_clean, findings.table()
    return found


async def _round(cluster: ClusterProcesses, admin: Admin, workload: Workload, loss: Loss) -> float:
    victim = await _arranged(admin, loss)
    await workload.wait_acknowledged(after_s=time.monotonic(), timeout_s=10)
    broker = cluster.brokers[victim]
    began_s = time.monotonic()
    stop: Callable[[], object] = broker.stop if loss.graceful else broker.kill
    await asyncio.to_thread(stop)
    await workload.wait_acknowledged(after_s=time.monotonic(), timeout_s=30)
    longest_s = workload.history.longest_silence_after_s(began_s)
    await asyncio.to_thread(broker.start)
    return longest_s * 1e3


async def _arranged(admin: Admin, loss: Loss) -> int:
    """Wait until all is in sync, see to it that roles are as asked, and return the victim."""
    async with asyncio.timeout(HEALED_TIMEOUT_S):
        while True:
            (topic,) = await admin.describe_topics([TOPIC])
            (part,) = topic.partitions
            controller = (await admin.describe_cluster()).controller_id
            whole = part.leader >= 0 and set(part.in_sync_replicas) == set(part.replicas)
            if whole and controller >= 0:
                both = part.leader == controller
                if loss.controls is None or both == (loss.leads and loss.controls):
                    return part.leader if loss.leads else controller
                others = [replica for replica in part.replicas if replica != controller]
                await _lead(admin, others[0] if both else controller, part.replicas)
            await asyncio.sleep(0.05)


async def _lead(admin: Admin, leader: int, replicas: tuple[int, ...]) -> None:
    """Make ``leader`` the preferred leader, and elect it."""
    partition = TopicPartition(TOPIC, 0)
    rest = [replica for replica in replicas if replica != leader]
    await admin.reassign({partition: (leader, *rest)})
    await admin.elect_leaders([partition])
