"""What do three brokers cost that have nothing to do, each with its share of six partitions?"""

from __future__ import annotations

import os
import time
from pathlib import Path

import uvloop

from benchmarks.report import Figure
from ottla.client import Admin, NewTopic
from ottla.testing.cluster_processes import ClusterProcesses

SETTLE_S = 5
OBSERVED_S = 20
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def measure(directory: Path) -> list[Figure]:
    """Memory and processor time of each broker, read from ``/proc``."""
    with ClusterProcesses(data_directory=directory / "idle") as cluster:
        uvloop.run(_create(cluster.bootstrap))
        time.sleep(SETTLE_S)
        pids = [broker.pid for broker in cluster.brokers]
        before = [_cpu_s(pid) for pid in pids]
        time.sleep(OBSERVED_S)
        used = [_cpu_s(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
        resident = [_resident_mb(pid) for pid in pids]
    return [
        Figure(
            name="idle memory of a broker (of three)",
            unit="MB",
            rounds=resident,
            goal=90,
            lower_is_better=True,
        ),
        Figure(
            name="idle CPU of a broker (of three)",
            unit="% of a core",
            rounds=[100 * seconds / OBSERVED_S for seconds in used],
            goal=2,
            lower_is_better=True,
        ),
    ]


async def _create(bootstrap: str) -> None:
    async with Admin(bootstrap_servers=bootstrap) as admin:
        await admin.create_topics([NewTopic("idle", partitions=6, replication_factor=3)])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(f"process {pid} says nothing of its memory")
