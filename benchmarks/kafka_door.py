"""How fast records go in and out through Kafka's protocol, and what the client could do at best.

The client is librdkafka without a binding (:mod:`benchmarks.librdkafka`). Beside each figure stands
what it reaches against a broker that does nothing (:mod:`benchmarks.kafka_sink`), on the same
machine and with the same settings: a client and a broker share its cores. The broker is a process
of its own with its data on a real disk, synced before every acknowledgement (``acks=all``, the
defaults of a new topic).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import kafka_sink
from benchmarks.librdkafka import Librdkafka, NoLibrdkafkaError
from benchmarks.report import Figure, rounds
from ottla.testing.broker_process import BrokerProcess, free_port

PARTITIONS: Final = 4
RECORDS: Final = 4_000_000
RECORD_BYTES: Final = 100
ROUNDS: Final = 4
PRODUCER: Final = (
    "acks=all",
    "linger.ms=10",
    "batch.num.messages=10000",
    "queue.buffering.max.messages=1000000",
    "queue.buffering.max.kbytes=1000000",
)
MEGABYTES: Final = RECORDS * RECORD_BYTES / 1e6


def measure(directory: Path) -> list[Figure]:
    """Produce to topics of their own, read them back, and do the same with the sink."""
    try:
        client = Librdkafka.build(directory)
    except NoLibrdkafkaError as error:
        print(error, file=sys.stderr)
        return []
    produced: list[float] = []
    consumed: list[float] = []
    produce_cpu: list[float] = []
    consume_cpu: list[float] = []
    arguments = ("--set", f"num.partitions={PARTITIONS}")
    with BrokerProcess(data_directory=directory / "kafka", arguments=arguments) as broker:
        address = f"127.0.0.1:{broker.kafka_port}"
        for number in range(1 + ROUNDS):  # the first warms up
            topic = f"round-{number}"
            began_s = _cpu_s(broker.pid)
            produced.append(_rate(client, "produce", address, topic))
            between_s = _cpu_s(broker.pid)
            consumed.append(_rate(client, "consume", address, topic))
            produce_cpu.append((between_s - began_s) * 1e3 / MEGABYTES)
            consume_cpu.append((_cpu_s(broker.pid) - between_s) * 1e3 / MEGABYTES)
    with _sink() as address:
        sunk = rounds(lambda: _rate(client, "produce", address, "sink"), count=ROUNDS)
        given = rounds(lambda: _rate(client, "consume", address, "sink"), count=ROUNDS)
    return [
        Figure(
            name="Produce through Kafka's protocol, 100-byte records, acks=all, synced",
            unit="records/s",
            rounds=produced[1:],
            goal=1_500_000,
        ),
        Figure(name="... the client at best", unit="records/s", rounds=sunk),
        Figure(name="... CPU time of the broker", unit="ms/MB", rounds=produce_cpu[1:]),
        Figure(name="Fetch of the same", unit="records/s", rounds=consumed[1:], goal=3_000_000),
        Figure(name="... the client at best", unit="records/s", rounds=given),
        Figure(name="... CPU time of the broker", unit="ms/MB", rounds=consume_cpu[1:]),
    ]


def _rate(client: Librdkafka, action: str, address: str, topic: str) -> float:
    seconds = client.seconds(
        action,
        address=address,
        topic=topic,
        partitions=PARTITIONS,
        records=RECORDS,
        record_bytes=RECORD_BYTES,
        settings=PRODUCER if action == "produce" else (),
    )
    return RECORDS / seconds


@contextmanager
def _sink() -> Iterator[str]:
    """Run the broker that does nothing; give its address."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        kafka_sink.__name__,
        *map(str, (port, PARTITIONS, RECORD_BYTES)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == kafka_sink.READY
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
