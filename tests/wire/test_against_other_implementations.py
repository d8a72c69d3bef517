"""Every message of every version is, byte for byte, what two other implementations make of it."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from ottla.wire import codec
from tests.wire import kio_messages
from tests.wire.kio_messages import Kind, Maker

KINDS = list(kio_messages.all_kinds())
SAMPLES_PER_KIND = 2


def problems_of(kind: Kind, maker: Maker) -> list[str]:
    found = []
    for _ in range(SAMPLES_PER_KIND):
        theirs = maker.make(kind.theirs)
        content = kio_messages.write(theirs)
        ours = kio_messages.to_ours(theirs, kind.ours)
        if codec.write_message(ours, kind.version) != content:
            found.append(f"{kind} is written differently: {theirs}")
        elif codec.read_message(kind.ours, kind.version, content) != ours:
            found.append(f"{kind} is read differently: {theirs}")
    return found


def test_every_message_is_written_and_read_as_kio_does() -> None:
    maker = Maker(seed=1)

    assert [problem for kind in KINDS for problem in problems_of(kind, maker)] == []


def kafka_python_classes() -> dict[str, Any]:
    found = {}
    for part in ("admin", "consumer", "metadata", "producer", "sasl"):
        module = importlib.import_module(f"kafka.protocol.{part}")
        found |= {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return found


# It reads its own files in a way that Python has deprecated.
@pytest.mark.filterwarnings("ignore:read_text is deprecated:DeprecationWarning")
def test_kafka_python_reads_every_message_that_it_knows_and_writes_the_same_bytes() -> None:
    maker = Maker(seed=2)
    classes = kafka_python_classes()
    different = []
    known = 0
    for kind in KINDS:
        theirs = classes.get(kind.ours.__name__)
        if theirs is None or kind.version > theirs.max_version:
            continue
        known += 1
        ours = kio_messages.to_ours(maker.make(kind.theirs), kind.ours)
        content = codec.write_message(ours, kind.version)
        if theirs.decode(content, version=kind.version).encode(version=kind.version) != content:
            different.append(str(kind))

    assert known > 300
    assert different == []


