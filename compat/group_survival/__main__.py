"""Hurt groups, and account for every record.

python -m compat.group_survival --protocol consumer --seed 7 --faults 8
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

from compat.group_survival.members import KINDS, THREE_LANGUAGES
from compat.group_survival.trial import SETTINGS, NotAtRestError, Trial, in_random_order
from ottla.testing.cluster_processes import ClusterProcesses


def main() -> int:
    """Run trials; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m compat.group_survival", description=__doc__)
    parser.add_argument("--protocol", action="append", choices=list(THREE_LANGUAGES))
    parser.add_argument("--members", help=f"kinds, with commas, of {', '.join(KINDS)}")
    parser.add_argument("--faults", type=int, default=9)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    clean = True
    for protocol in options.protocol or THREE_LANGUAGES:
        kinds = options.members.split(",") if options.members else THREE_LANGUAGES[protocol]
        print(f"{protocol}: {', '.join(kinds)}; --seed {seed}", flush=True)
        clean &= _run(protocol, kinds, options.faults, random.Random(seed))
    return 0 if clean else 1


def _run(protocol: str, kinds: Sequence[str], faults: int, draw: random.Random) -> bool:
    directory = Path(mkdtemp(prefix="ottla-groups-"))
    began_s = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} {text}", flush=True)

    with ClusterProcesses(data_directory=directory, settings=SETTINGS) as cluster:
        trial = Trial(
            cluster=cluster, protocol=protocol, kinds=kinds, directory=directory, tell=tell
        )
        try:
            account = trial.run(in_random_order(draw, faults), draw)
            print(account)
            clean = account.is_clean
        except NotAtRestError as error:
            print(error)
            clean = False
        if not clean:
            for number, broker in enumerate(cluster.brokers):
                (directory / f"broker-{number}.log").write_text(broker.stderr())
            print(f"what everybody said is in {directory}")
    if clean:
        shutil.rmtree(directory, ignore_errors=True)
    return clean


if __name__ == "__main__":
    sys.exit(main())
