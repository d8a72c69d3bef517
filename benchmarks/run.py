"""Run the benchmarks, print the figures with the machine beside them, and keep them.

make bench                                  # all of them
python -m benchmarks.run --only storage     # one of them
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    client_library,
    failover,
    grpc_streams,
    idle,
    kafka_door,
    machine,
    many_partitions,
    replicated,
    start_up,
    storage,
)
from benchmarks.report import HEADING, Figure

RESULTS = Path(__file__).parent / "results"
QUESTIONS: dict[str, tuple[str, Callable[[Path], list[Figure]]]] = {
    "start-up": ("Start-up", start_up.measure),
    "storage": ("The log alone", storage.measure),
    "grpc": ("The streaming gRPC API", grpc_streams.measure),
    "kafka": ("Kafka's protocol", kafka_door.measure),
    "client": ("The client library", client_library.measure),
    "idle": ("Three brokers that have nothing to do", idle.measure),
    "replicated": ("Three brokers, everything replicated", replicated.measure),
    "failover": ("A broker is lost", failover.measure),
    "partitions": ("Many partitions", many_partitions.measure),
}


def main() -> int:
    """Measure what was asked for; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(QUESTIONS), action="append")
    parser.add_argument("--data", type=Path, help="a directory on the disk to measure")
    parser.add_argument("--keep", action="store_true", help="write the result under results/")
    options = parser.parse_args()
    now = datetime.now(UTC)
    lines = [f"# Benchmarks, {now:%Y-%m-%d %H:%M} UTC", "", machine.describe(), ""]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=options.data) as directory:
        sections: list[tuple[str, Callable[[Path], list[Figure]]]] = [
            ("Physical limits", machine.limits)
        ]
        sections += [QUESTIONS[name] for name in options.only or QUESTIONS]
        for title, measure in sections:
            print(f"... {title.lower()}", file=sys.stderr)
            found = measure(Path(directory))
            figures += found
            lines += [f"## {title}", "", HEADING, *(figure.row() for figure in found), ""]
    text = "\n".join(lines)
    print(text)
    if options.keep:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{now:%Y-%m-%d-%H%M}.md").write_text(text)
    return int(any(figure.reached is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
