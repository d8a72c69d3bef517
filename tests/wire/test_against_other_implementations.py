"""Every message of every version is, byte for byte, what two other implementations make of it."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from ottla.wire import codec
from ottla.wire.messages.api_versions import ApiVersionsResponse
from tests.wire import kio_messages
from tests.wire.kio_messages import Kind, Maker

KINDS = list(kio_messages.all_kinds())
SAMPLES_PER_KIND = 2


def problems_of(kind: Kind, maker: Maker) -> list[str]:
    found: list[str] = []
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
    found: dict[str, Any] = {}
    for part in ("admin", "consumer", "metadata", "producer", "sasl"):
        module = importlib.import_module(f"kafka.protocol.{part}")
        found |= {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return found


def representative(kinds: list[Kind]) -> list[Kind]:
    """Keep the first and last version of each message, and those around the first flexible one."""
    flexible = {(k.ours, k.version): codec.is_flexible(k.ours, k.version) for k in kinds}
    return [
        kind
        for kind in kinds
        if len({flexible.get((kind.ours, kind.version + step)) for step in (-1, 0, 1)}) > 1
    ]


# It reads its own files in a way that Python has deprecated.
@pytest.mark.filterwarnings("ignore:.*_text is deprecated:DeprecationWarning")
def test_kafka_python_reads_every_message_that_it_knows_and_writes_the_same_bytes() -> None:
    maker = Maker(seed=2)
    classes = kafka_python_classes()
    different: list[str] = []
    known = set()
    for kind in representative(KINDS):
        theirs = classes.get(kind.ours.__name__)
        if theirs is None or kind.version > theirs.max_version:
            continue
        known.add(theirs)
        ours = kio_messages.to_ours(maker.make(kind.theirs), kind.ours)
        if isinstance(ours, ApiVersionsResponse):
            ours.error_code = 0  # it takes some errors to mean that version 0 is meant
        content = codec.write_message(ours, kind.version)
        if kind.ours.API_KEY < 0:
            content = kind.version.to_bytes(2) + content  # to it, that is a part of the message
        message = theirs.decode(content, version=kind.version)
        message._header = None  # its writer looks at it and its reader does not set it
        if message.encode(version=kind.version) != content:
            different.append(str(kind))

    assert len(known) == 104
    assert different == []
