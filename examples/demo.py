"""Stream a real file through three brokers, kill a leader half way, account for every record.

    make demo                    # the repository's own history
    make demo INPUT=access.log   # any file

Every line becomes one record whose key is its line number, on a topic with three replicas of each
partition. When half of them are acknowledged the broker that leads partition 0 is killed with
``kill -9``; the producer is not told, and goes on with those that are left. Then everything is
read back and compared, byte for byte.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ottla.client import Admin, Consumer, NewTopic, Producer
from ottla.testing.cluster_processes import ClusterProcesses

ROOT = Path(__file__).resolve().parent.parent
TOPIC = "demo"
PARTITIONS = 3
LINE_BYTES_MAX = 500_000  # a line of a binary file may be very long; records may not


@dataclass(slots=True)
class Account:
    """What became of the records."""

    sent: int = 0
    acknowledged: int = 0
    read: int = 0
    lost: int = 0
    duplicated: int = 0
    changed: int = 0
    reordered: int = 0
    sent_bytes: int = 0
    produce_seconds: float = 0.0
    consume_seconds: float = 0.0
    pause_seconds: float = 0.0
    last_line_by_partition: dict[int, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Every record is there once, whole and in order."""
        wrong = self.lost + self.duplicated + self.changed + self.reordered
        return wrong == 0 and self.read == self.acknowledged == self.sent

    def table(self) -> str:
        """Return the account as text."""
        rows = [
            ("records sent", f"{self.sent:,} ({self.sent_bytes / 1e6:,.1f} MB)"),
            ("acknowledged", f"{self.acknowledged:,} in {self.produce_seconds:.2f} s"),
            ("read back", f"{self.read:,} in {self.consume_seconds:.2f} s"),
            ("lost", f"{self.lost:,}"),
            ("duplicated", f"{self.duplicated:,}"),
            ("changed", f"{self.changed:,}"),
            ("out of order", f"{self.reordered:,}"),
            ("without an acknowledged write", f"{self.pause_seconds:.2f} s (kill -9 of a leader)"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)


def main() -> int:
    """Run the demonstration; 1 if one record is missing, repeated, changed or out of order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, help="any file; default: the repository's history")
    source: Path | None = parser.parse_args().input
    if source is not None and not source.is_file():
        print(f"demo: {source} is not a file; name one with INPUT=", file=sys.stderr)
        return 1
    lines = split_lines(source.read_bytes() if source else repository_history())
    print(f"input: {source or 'the history of this repository'}, {len(lines):,} lines")
    with (
        tempfile.TemporaryDirectory(prefix="ottla-demo-") as directory,
        ClusterProcesses(data_directory=Path(directory)) as cluster,
    ):
        print(f"brokers: ready on {cluster.bootstrap}, data in {directory}")
        account = asyncio.run(stream(cluster, lines))
        cluster.stop()
    print(account.table())
    print("every record accounted for" if account.clean else "THE ACCOUNT IS NOT CLEAN")
    return 0 if account.clean else 1


def split_lines(content: bytes) -> list[bytes]:
    """Cut the input into records: lines, and long lines into pieces."""
    lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return [
        line[start : start + LINE_BYTES_MAX]
        for line in lines
        for start in range(0, max(1, len(line)), LINE_BYTES_MAX)
    ]


def repository_history() -> bytes:
    """Return every change ever made here; without git, the files as they are."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        log = subprocess.run(["git", "log", "-p"], cwd=ROOT, check=True, capture_output=True)
        return log.stdout
    files = sorted(path for path in (ROOT / "ottla").rglob("*.py"))
    return b"".join(path.read_bytes() for path in files)


async def stream(cluster: ClusterProcesses, lines: Sequence[bytes]) -> Account:
    """Produce all lines, with the loss of a broker in the middle, and read them back."""
    account = Account(sent=len(lines), sent_bytes=sum(map(len, lines)))
    async with Admin(bootstrap_servers=cluster.bootstrap) as admin:
        await admin.create_topics(
            [
                NewTopic(
                    TOPIC,
                    partitions=PARTITIONS,
                    replication_factor=3,
                    configs={"min.insync.replicas": "2"},
                )
            ]
        )
        (description,) = await admin.describe_topics([TOPIC])
    leader = description.partitions[0].leader
    async with Producer(bootstrap_servers=cluster.bootstrap) as producer:
        started = time.monotonic()
        half = len(lines) // 2
        account.acknowledged += await acknowledged(await send(producer, lines, 0, half))
        killed = time.monotonic()
        cluster.brokers[leader].kill()
        print(f"broker {leader}: killed after {account.acknowledged:,} acknowledged records")
        # Spread over all partitions: the last of them to be acknowledged shows the whole pause.
        handles = await send(producer, lines, half, min(half + 1_000, len(lines)))
        account.acknowledged += await acknowledged(handles)
        account.pause_seconds = time.monotonic() - killed
        rest = await send(producer, lines, half + len(handles), len(lines))
        account.acknowledged += await acknowledged(rest)
        account.produce_seconds = time.monotonic() - started
    await read_back(cluster.bootstrap, lines, account)
    return account


async def send(
    producer: Producer, lines: Sequence[bytes], first: int, end: int
) -> list[Awaitable[object]]:
    """Hand lines ``[first, end)`` to the producer; each handle is awaitable."""
    return [
        await producer.send(TOPIC, lines[number], key=b"%d" % number)
        for number in range(first, end)
    ]


async def acknowledged(handles: Sequence[Awaitable[object]]) -> int:
    """Wait for every handle and count; an error ends the demonstration."""
    for handle in handles:
        await handle
    return len(handles)


async def read_back(address: str, lines: Sequence[bytes], account: Account) -> None:
    """Read the topic to its end and compare with what was sent."""
    seen = bytearray(len(lines))
    started = time.monotonic()
    async with Consumer(TOPIC, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        expected = sum(ends.values())
        while account.read < expected:
            for partition, records in (await consumer.getmany(timeout_ms=5_000)).items():
                for record in records:
                    assert record.key is not None
                    number = int(record.key)
                    account.read += 1
                    account.duplicated += seen[number]
                    account.changed += record.value != lines[number]
                    last = account.last_line_by_partition.get(partition.partition, -1)
                    account.reordered += number <= last
                    account.last_line_by_partition[partition.partition] = number
                    seen[number] = 1
    account.consume_seconds = time.monotonic() - started
    account.lost = len(lines) - sum(seen)


if __name__ == "__main__":
    sys.exit(main())
