"""Applications that write and read while a test hurts the cluster, and what must hold then."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ottla.testing.history import Outcome, Sent
from ottla.testing.workload import Workload
from tests.chaos.cluster import wait_healed
from tests.integration.cluster_requests import DEADLINE_S


def load(bootstrap: str, topic: str, *, partitions: int = 3) -> Workload:
    """Return applications that write to every partition; not too much for a busy machine."""
    return Workload(
        bootstrap,
        topic=topic,
        partitions=partitions,
        configs={"min.insync.replicas": "2"},
        producers=1,
        records_per_second=200,
    )


async def acknowledging(workload: Workload) -> None:
    """Wait until every partition has acknowledged a record that is sent from now on."""
    now_s = time.monotonic()
    await workload.wait_acknowledged_everywhere(after_s=now_s, timeout_s=DEADLINE_S)


async def healed(bootstrap: str, topic: str, workload: Workload) -> None:
    """Wait until every replica is in sync and every partition takes writes."""
    await wait_healed(bootstrap, topic)
    await acknowledging(workload)


async def account_is_clean(workload: Workload, *, unknown: Sequence[bytes] = ()) -> None:
    """End the load, and see that every record was acknowledged and is there, once, in order.

    The ``unknown`` values, sent by nobody here, may be there as well.
    """
    sent = workload.history.sent
    sent += [Sent(-1, -1, value, 0, -1, Outcome.UNKNOWN) for value in unknown]
    findings = await workload.finish()
    assert findings.is_clean, findings.table()
    assert findings.counts["acknowledged"] == findings.counts["sent"] - len(unknown)
