"""A state as bytes and back: the records that would make it, in one order.

The bytes are *canonical*. Replicas that applied the same entries write equal snapshots, so
comparing two files is enough to know whether two nodes agree, and a snapshot that was restored
and taken again is the same. Nothing here may depend on the order in which things happened to be
created or on the hash of anything: voters and brokers go by id, topics and settings by name,
partitions by number.

Counters that no record can rebuild -- the version, the answers that retries get -- are fields of
the snapshot itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from google.protobuf.message import DecodeError

from ottla.controller import records
from ottla.controller.answers import RecentAnswers
from ottla.controller.state import FIRST_PRODUCER_ID, MetadataState, Replay
from ottla.model.ids import NO_BROKER, NO_CONTROLLER_EPOCH, BrokerEpoch, MetadataOffset
from ottla.model.image import BrokerImage, QuotaEntity, TopicImage
from ottla.v1 import metadata_record_pb2 as pb


class Restored(NamedTuple):
    """What a snapshot holds."""

    state: MetadataState
    answers: RecentAnswers


def encode_snapshot(state: MetadataState, answers: RecentAnswers) -> bytes:
    """Return the canonical bytes of a state and of the answers that retries of batches get."""
    snapshot = pb.MetadataSnapshot(
        metadata_offset=state.image.metadata_offset,
        records=_records(state),
        version=state.version,
        applied=(
            pb.MetadataSnapshot.AppliedBatch(client_id=client_id, sequence=sequence, answer=answer)
            for client_id, sequence, answer in answers
        ),
    )
    return snapshot.SerializeToString(deterministic=True)


def decode_snapshot(content: bytes, *, empty: MetadataState) -> Restored:
    """Read what :func:`encode_snapshot` wrote, into a state before the first entry.

    Snapshots are checked for damage below this layer, so content that does not decode, or holds
    what this version does not know, is an :exc:`AssertionError`.
    """
    snapshot = pb.MetadataSnapshot()
    try:
        snapshot.ParseFromString(content)
    except DecodeError as error:
        raise AssertionError(f"{len(content)} bytes are no metadata snapshot: {error}") from error
    replaying = Replay(empty)
    for record in snapshot.records:
        replaying.record(record)
    state = replaying.state(
        metadata_offset=MetadataOffset(snapshot.metadata_offset), version=snapshot.version
    )
    answers = RecentAnswers()
    for batch in snapshot.applied:
        answers.remember(batch.client_id, batch.sequence, batch.answer)
    return Restored(state, answers)


def _records(state: MetadataState) -> Iterator[pb.MetadataRecord]:
    yield from (records.feature_level(*feature) for feature in sorted(state.feature_levels.items()))
    image = state.image
    if image.cluster_id:
        yield records.cluster_created(image.cluster_id)
    if image.controller_epoch != NO_CONTROLLER_EPOCH:
        yield records.controller_elected(image.controller_id, image.controller_epoch)
    if state.next_producer_id != FIRST_PRODUCER_ID:
        # Who took the last block does not matter any more.
        yield records.producer_ids_allocated(
            NO_BROKER, BrokerEpoch(-1), next_producer_id=state.next_producer_id
        )
    yield from (records.voter_admitted(*voter) for voter in sorted(image.voters.items()))
    for broker_id in sorted(image.brokers):
        yield from _broker_records(image.brokers[broker_id])
    for owner in sorted(image.broker_configs, key=lambda owner: (owner is not None, owner)):
        configs = image.broker_configs[owner]
        for key in sorted(configs):
            yield records.broker_config_changed(owner, key, configs[key])
    for entity in sorted(image.client_quotas, key=_quota_order):
        yield from _quota_records(entity, image.client_quotas[entity])
    for name in sorted(image.topics):
        yield from _topic_records(image.topics[name])


def _quota_order(entity: QuotaEntity) -> tuple[bool, str, bool, str]:
    user, client_id = entity
    return user is not None, user or "", client_id is not None, client_id or ""


def _quota_records(entity: QuotaEntity, quotas: Mapping[str, float]) -> Iterator[pb.MetadataRecord]:
    for key in sorted(quotas):
        yield records.client_quota_changed(entity, key, quotas[key])


def _broker_records(broker: BrokerImage) -> Iterator[pb.MetadataRecord]:
    broker_id, broker_epoch = broker.broker_id, broker.broker_epoch
    yield records.broker_registered(broker, clean_shutdown=False)
    if not broker.fenced:
        yield records.broker_fencing_changed(broker_id, broker_epoch, fenced=False)
    if broker.shutting_down:
        yield records.broker_shutting_down(broker_id, broker_epoch)
    if broker.draining:
        yield records.broker_draining_changed(broker_id, draining=True)


def _topic_records(topic: TopicImage) -> Iterator[pb.MetadataRecord]:
    yield records.topic_created(topic.name, topic.topic_id)
    for number, partition in enumerate(topic.partitions):
        yield records.partition_changed(topic.topic_id, number, partition)
    for key in sorted(topic.configs):
        yield records.topic_config_changed(topic.topic_id, key, topic.configs[key])
