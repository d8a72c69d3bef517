"""Read damaged requests and responses for some seconds: ``python -m tests.wire.fuzz --seconds 10``.

Each must be read or refused with MalformedError, within 50 ms of CPU. What fails is printed with
its seed, which makes it again.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from random import Random

from ottla.wire import codec
from ottla.wire.malformed import MalformedError
from tests.wire.mutations import mutated
from tests.wire.random_messages import Kind, all_requests, all_responses, make

SECONDS_MAX = 0.05


def read_damaged(kind: Kind, seed: int) -> float:
    """Read one damaged message; return how long it took."""
    random = Random(seed)
    frame = memoryview(mutated(codec.write_message(make(kind, random), kind.version), random))
    is_request = kind.message.__name__.endswith("Request")
    read = codec.read_request if is_request else codec.read_response
    started = time.process_time()
    with contextlib.suppress(MalformedError):
        read(kind.message.API_KEY, kind.version, frame, 0)
    return time.process_time() - started


def main() -> int:
    """Go on until the time is up; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kinds = [*all_requests(), *all_responses()]
    for kind in kinds:
        read_damaged(kind, 0)  # compiles
    stop = time.monotonic() + arguments.seconds
    count = 0
    slowest = 0.0
    while time.monotonic() < stop:
        seed = arguments.seed + count
        kind = kinds[seed % len(kinds)]
        count += 1
        taken = read_damaged(kind, seed)
        slowest = max(slowest, taken)
        if taken > SECONDS_MAX:
            print(f"{kind} took {taken * 1000:.0f} ms with --seed {seed}", file=sys.stderr)
            return 1
    print(f"{count} damaged messages, the slowest took {slowest * 1000:.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
