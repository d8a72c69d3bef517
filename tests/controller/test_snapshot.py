"""A snapshot is the whole state, and the same bytes wherever and whenever it is taken."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from ottla.controller.decisions import decided
from ottla.controller.records import (
    broker_registered,
    feature_level,
    topic_config_changed,
    topic_created,
)
from ottla.controller.requests import (
    AlterBrokerConfigs,
    AlterClientQuotas,
    ConfigChange,
    ConfigChanges,
    NewTopic,
    QuotaChanges,
    SetFeatureLevel,
    UnregisterBroker,
)
from ottla.controller.state_machine import MetadataStateMachine
from ottla.model.ids import BrokerEpoch, BrokerId, MetadataOffset, TopicId
from ottla.model.image import DEFAULT_ENTITY, BrokerImage, BrokerListener, QuotaEntity
from ottla.v1 import metadata_record_pb2 as pb
from tests.controller.metadata import Metadata

REPOSITORY = Path(__file__).parents[2]


def busy() -> Metadata:
    """A cluster in which a bit of everything has happened."""
    metadata = Metadata(brokers=3, epoch=4)
    metadata.carry_out(
        metadata.controller.decide(SetFeatureLevel(name="metadata.version", level=1), 0)
    )
    metadata.create_all(
        NewTopic(name="web", partitions=5, replication_factor=3),
        NewTopic(
            name="logs",
            partitions=2,
            replication_factor=1,
            configs={"retention.ms": "1", "segment.ms": "2", "flush.ms": "3"},
        ),
        NewTopic(name="gone"),
    )
    metadata.delete("gone")
    metadata.grow("logs", 4)
    metadata.allocate(2)
    metadata.fence(3)
    metadata.register(
        7,
        rack="r",
        host="elsewhere",
        clean_shutdown=True,
        directory=70,
        voter=True,
        listeners=(
            BrokerListener(
                name="LAN", host="h7", port=9092, security_protocol="SSL", any_address=True
            ),
        ),
    )
    metadata.register(8, directory=80)
    metadata.register(9)
    metadata.ask(UnregisterBroker(broker_id=BrokerId(9)))
    metadata.drain(8)
    metadata.begin_shutdown(2)
    metadata.ask(
        AlterBrokerConfigs(
            brokers=(
                ConfigChanges(
                    name="", changes=(ConfigChange(key="min.insync.replicas", value="2"),)
                ),
                ConfigChanges(name="7", changes=(ConfigChange(key="log.roll.ms", value="5"),)),
            )
        )
    )
    metadata.ask(
        AlterClientQuotas(
            entities=(
                QuotaChanges(
                    entity=QuotaEntity("ann", DEFAULT_ENTITY),
                    changes={"producer_byte_rate": 1.0, "consumer_byte_rate": 2.0},
                ),
                QuotaChanges(
                    entity=QuotaEntity(client_id="app"), changes={"consumer_byte_rate": 3.0}
                ),
            )
        )
    )
    metadata.reassign("logs", 1 if metadata.partition("logs").replicas != (1,) else 2)
    return metadata


def broker(number: int) -> BrokerImage:
    return BrokerImage(
        broker_id=BrokerId(number),
        broker_epoch=BrokerEpoch(5),
        host="h",
        grpc_port=1,
        rack="",
        incarnation_id=b"i",
        fenced=True,
    )


def restored(metadata: Metadata) -> MetadataStateMachine:
    machine = MetadataStateMachine()
    machine.restore(MetadataOffset(len(metadata.log) + 3), metadata.machine.snapshot())
    return machine


def test_restored_machine_has_the_same_state() -> None:
    metadata = busy()

    assert restored(metadata).state == metadata.machine.state


def test_restored_machine_takes_the_same_snapshot() -> None:
    metadata = busy()

    assert restored(metadata).snapshot() == metadata.machine.snapshot()


def test_machine_that_replayed_the_same_log_takes_the_same_snapshot() -> None:
    metadata = busy()
    other = MetadataStateMachine()
    for index, entry in enumerate(metadata.log, start=1):
        other.apply(MetadataOffset(index), entry)

    assert other.snapshot() == metadata.machine.snapshot()


def test_snapshot_does_not_depend_on_the_order_in_which_things_were_made() -> None:
    ids = {name: TopicId(UUID(int=ord(name))) for name in "abc"}

    def snapshot_of(names: str) -> pb.MetadataSnapshot:
        metadata = Metadata()
        state = metadata.machine.state
        things = [
            *(broker_registered(broker(number), clean_shutdown=True) for number in map(ord, names)),
            *(topic_created(name, ids[name]) for name in names),
            *(topic_config_changed(ids["a"], f"key.{name}", "1") for name in names),
        ]
        metadata.carry_out(decided(state, None, tuple(things)))
        return pb.MetadataSnapshot.FromString(metadata.machine.snapshot())

    assert snapshot_of("abc") == snapshot_of("cab")


def test_empty_state_has_an_empty_snapshot() -> None:
    machine = MetadataStateMachine()

    assert machine.snapshot() == b""
    machine.restore(MetadataOffset(0), b"")
    assert machine.state.version == 0


def test_entries_after_a_restore_continue_where_the_snapshot_ends() -> None:
    metadata = busy()
    machine = restored(metadata)
    first_new = len(metadata.log) + 1
    metadata.create("later")
    metadata.fence(1)

    # The engine used three entries for itself before the restore; indexes differ, states do not.
    for number, entry in enumerate(metadata.log[first_new - 1 :]):
        machine.apply(MetadataOffset(first_new + 3 + number), entry)

    assert machine.state.version == metadata.machine.state.version
    assert machine.image.topics == metadata.machine.image.topics


def test_retry_after_a_restore_is_answered_as_the_first_time() -> None:
    metadata = busy()
    first = metadata.machine.apply(MetadataOffset(len(metadata.log) + 1), metadata.log[-1])
    machine = restored(metadata)

    assert machine.apply(MetadataOffset(10_000), metadata.log[-1]) == first


def test_restore_replaces_what_was_there() -> None:
    metadata, other = busy(), Metadata(brokers=1)
    other.create("mine")

    other.machine.restore(MetadataOffset(len(metadata.log)), metadata.machine.snapshot())

    assert other.machine.state == metadata.machine.state


def test_snapshot_from_beyond_its_index_stops_the_node() -> None:
    metadata = busy()

    with pytest.raises(AssertionError):
        MetadataStateMachine().restore(MetadataOffset(1), metadata.machine.snapshot())


def test_bytes_that_are_no_snapshot_stop_the_node() -> None:
    with pytest.raises(AssertionError, match="3 bytes are no metadata snapshot"):
        MetadataStateMachine().restore(MetadataOffset(1), b"\xff\xff\xff")


def test_snapshot_of_a_newer_version_stops_the_node_and_changes_nothing() -> None:
    metadata = busy()
    before = metadata.machine.state
    newer = pb.MetadataSnapshot(records=[feature_level("metadata.version", 2)])

    with pytest.raises(AssertionError):
        metadata.machine.restore(MetadataOffset(99), newer.SerializeToString())

    assert metadata.machine.state is before


_PRINT_HASH = """
import hashlib
from tests.controller.test_snapshot import busy
print(hashlib.sha256(busy().machine.snapshot()).hexdigest())
"""


def test_interpreters_with_different_hash_seeds_take_the_same_snapshot() -> None:
    here = hashlib.sha256(busy().machine.snapshot()).hexdigest()

    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", _PRINT_HASH],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        assert run.stdout.strip() == here
