"""Hurt a cluster under load, again and again, and account for every record.

python -m tests.chaos                      # containers if an engine runs here, else processes
python -m tests.chaos --rounds 20 --seed 7 --on processes
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ottla.model.errors import OttlaError
from ottla.testing.broker_process import BrokerDidNotStartError
from tests.chaos.cluster import FaultyCluster, NotHealedError
from tests.chaos.containers import container_cluster, engine
from tests.chaos.processes import PROCESS_FAULTS, process_cluster
from tests.chaos.rounds import FAULTS, Fault, run_rounds


def main() -> int:
    """Run the rounds; 1 if a record is lost, repeated, reordered, or the cluster stayed broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=None, help="chooses the faults")
    parser.add_argument("--on", choices=["auto", "containers", "processes"], default="auto")
    options = parser.parse_args()
    seed: int = random.randrange(2**32) if options.seed is None else options.seed
    client = None if options.on == "processes" else engine()
    if options.on == "containers" and client is None:
        print("chaos: no container engine answers; start one, or use --on processes")
        return 1
    where = "processes" if client is None else "containers"
    print(f"chaos: {options.rounds} rounds on three {where}, --seed {seed}", flush=True)
    clean = asyncio.run(_run(client, options.rounds, seed))
    print("every record accounted for" if clean else "THE ACCOUNT IS NOT CLEAN")
    return 0 if clean else 1


async def _run(client: object, rounds: int, seed: int) -> bool:
    if client is not None:
        with container_cluster(client) as containers:
            return await _account(containers, FAULTS, rounds, seed)
    with tempfile.TemporaryDirectory(prefix="ottla-chaos-") as directory:
        async with process_cluster(Path(directory)) as processes:
            return await _account(processes, PROCESS_FAULTS, rounds, seed)


async def _account(cluster: FaultyCluster, kinds: Sequence[Fault], rounds: int, seed: int) -> bool:
    try:
        findings = await run_rounds(cluster, kinds=kinds, rounds=rounds, seed=seed)
        clean = findings.is_clean
    except (NotHealedError, TimeoutError, OttlaError, BrokerDidNotStartError) as error:
        print(f"chaos: {type(error).__name__}: {error}")
        clean = False
    if not clean:
        for broker_id in cluster.broker_ids:
            print(f"--- what broker {broker_id} said last\n{cluster.logs(broker_id)}")
    return clean


if __name__ == "__main__":
    sys.exit(main())
