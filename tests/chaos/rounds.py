"""Rounds of random faults on a cluster under load, and the account at the end.

One round: wait until the cluster is whole, hurt it, see how long nothing was acknowledged, let the
fault last a while, heal. Producers and consumers run through all rounds. The same seed chooses the
same faults; what they meet is up to the machine.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from ottla.testing.history import Findings
from ottla.testing.workload import Workload
from tests.chaos.cluster import FaultyCluster, controller_of, leader_of, wait_healed

TOPIC: Final = "chaos"
ACKNOWLEDGED_TIMEOUT_S: Final = 30.0
"""With a majority alive, a write is acknowledged again within this, or the run has failed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is done to one broker, or to several, and undone."""

    name: str
    victims: int
    begin: Callable[[FaultyCluster, int], Awaitable[None]]
    end: Callable[[FaultyCluster, int], Awaitable[None]]
    lasts_s: tuple[float, float]
    writes_go_on: bool = True
    """Whether a majority and ``min.insync.replicas`` are left."""


FAULTS: Final = (
    Fault("kill", 1, lambda c, b: c.kill(b), lambda c, b: c.start(b), (0.5, 3)),
    Fault("pause", 1, lambda c, b: c.pause(b), lambda c, b: c.resume(b), (1, 6)),
    Fault("isolate", 1, lambda c, b: c.isolate(b), lambda c, b: c.reconnect(b), (1, 6)),
    Fault("restart", 1, lambda c, b: c.stop(b), lambda c, b: c.start(b), (0, 1)),
    Fault("kill two", 2, lambda c, b: c.kill(b), lambda c, b: c.start(b), (0.5, 2), False),  # noqa: FBT003
    Fault("kill all", 9, lambda c, b: c.kill(b), lambda c, b: c.start(b), (0, 1), False),  # noqa: FBT003
)


async def run_rounds(
    cluster: FaultyCluster,
    *,
    rounds: int,
    seed: int,
    kinds: Sequence[Fault] = FAULTS,
    out: TextIO = sys.stdout,
    records_per_second: int = 300,
) -> Findings:
    """Run ``rounds`` rounds, tell ``out`` about each, and return the account.

    Raises:
        NotHealedError: the cluster did not become whole again.
        TimeoutError: nothing was acknowledged although a majority was there.
    """
    draw = random.Random(seed)
    # Every fault once, in random order, before any comes again.
    rows = range(-(-rounds // len(kinds)))
    faults = [fault for _ in rows for fault in draw.sample(kinds, len(kinds))]
    async with Workload(
        cluster.bootstrap,
        topic=TOPIC,
        configs={"min.insync.replicas": "2"},
        records_per_second=records_per_second,
    ) as workload:
        for number, fault in enumerate(faults[:rounds], 1):
            await wait_healed(cluster.bootstrap, TOPIC)
            line = await _round(cluster, workload, fault, draw)
            print(f"round {number:>2}  {line}", file=out, flush=True)
        await wait_healed(cluster.bootstrap, TOPIC)
        findings = await workload.finish()
        silence_s = workload.history.longest_silence_s()
    print(findings.table(), file=out)
    print(f"  longest time without an acknowledged write  {silence_s:.2f} s", file=out, flush=True)
    return findings


async def _round(
    cluster: FaultyCluster, workload: Workload, fault: Fault, draw: random.Random
) -> str:
    await workload.wait_acknowledged_everywhere(
        after_s=time.monotonic(), timeout_s=ACKNOWLEDGED_TIMEOUT_S
    )
    controller = await controller_of(cluster.bootstrap)
    leader = await leader_of(cluster.bootstrap, TOPIC, draw.randrange(4))
    # A controller or a leader is more interesting than a mere follower.
    first = draw.choice([controller, leader, draw.choice(list(cluster.broker_ids))])
    others = [broker_id for broker_id in cluster.broker_ids if broker_id != first]
    victims = [first, *draw.sample(others, min(fault.victims - 1, len(others)))]
    lasts_s = draw.uniform(*fault.lasts_s)
    began_s = time.monotonic()
    await asyncio.gather(*(fault.begin(cluster, victim) for victim in victims))
    begun_s = time.monotonic()
    silence_s = None
    if fault.writes_go_on:
        silence_s = await workload.wait_acknowledged_everywhere(
            after_s=begun_s, timeout_s=ACKNOWLEDGED_TIMEOUT_S
        )
    await asyncio.sleep(max(0.0, began_s + lasts_s - time.monotonic()))
    await asyncio.gather(*(fault.end(cluster, victim) for victim in victims))
    ended_s = time.monotonic()
    if silence_s is None:
        silence_s = await workload.wait_acknowledged_everywhere(
            after_s=ended_s, timeout_s=ACKNOWLEDGED_TIMEOUT_S
        )
    role = " (controller)" if controller in victims else ""
    after = "after the fault began" if fault.writes_go_on else "after the brokers were back"
    return (
        f"{fault.name:<8} {','.join(map(str, victims))}{role}, {ended_s - began_s:.1f} s; "
        f"next acknowledged write {silence_s:.2f} s {after}"
    )
