"""What one broker asks of the controller, and is answered, arrives unchanged at another."""

from __future__ import annotations

from typing import Any, Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.cluster.controller_answers import (
    decode_answer,
    decode_refusal,
    encode_answer,
    encode_refusal,
)
from ottla.cluster.controller_codec import decode_request, encode_request
from ottla.controller.requests import (
    AllocateProducerIds,
    AlterBrokerConfigs,
    AlterClientQuotas,
    AlterPartition,
    AlterPartitions,
    AlterTopicConfigs,
    Assignment,
    BeginShutdown,
    ConfigChange,
    ConfigChanges,
    ConfigOperation,
    CreatedTopic,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    EstablishCluster,
    FenceBroker,
    NewPartitions,
    NewTopic,
    PartitionResult,
    ProducerIdBlock,
    ProposedMember,
    QuotaChanges,
    QuotaResult,
    ReadmitVoter,
    Reassign,
    Reassignment,
    RegisterBroker,
    Request,
    SetDraining,
    SetFeatureLevel,
    TopicResult,
    UnfenceBroker,
    UnregisterBroker,
)
from ottla.model.errors import (
    ERRORS_BY_CODE,
    InvalidRequestError,
    NotControllerError,
    OttlaError,
    TopicAlreadyExistsError,
    UnsupportedVersionError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, TopicPartition
from ottla.model.image import BrokerListener, QuotaEntity
from ottla.v1.controller_pb2 import ControllerRequest, ControllerResponse

FAST: Final = settings(max_examples=10, deadline=None)

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
# No lone surrogates: nobody can send one.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CONFIGS = st.dictionaries(TEXT, TEXT, max_size=3)
FLAG = st.booleans()
UUIDS = st.uuids()
PARTITIONS = st.builds(TopicPartition, TEXT, INT32)
ENTITIES = st.builds(QuotaEntity, user=st.none() | TEXT, client_id=st.none() | TEXT)


def several(values: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(values, max_size=3).map(tuple)


def life(kind: type) -> st.SearchStrategy[object]:
    return st.builds(kind, broker_id=INT32, broker_epoch=INT64)


CHANGES = several(
    st.builds(
        ConfigChanges,
        name=TEXT,
        changes=several(
            st.builds(
                ConfigChange, key=TEXT, operation=st.sampled_from(ConfigOperation), value=TEXT
            )
        ),
        replaces=FLAG,
    )
)

REQUESTS: dict[type, st.SearchStrategy[object]] = {
    CreateTopics: st.builds(
        CreateTopics,
        topics=several(
            st.builds(
                NewTopic,
                name=TEXT,
                partitions=st.none() | INT32,
                replication_factor=st.none() | INT32,
                configs=CONFIGS,
                assignments=several(st.builds(Assignment, INT32, several(INT32))),
            )
        ),
        validate_only=FLAG,
    ),
    DeleteTopics: st.builds(DeleteTopics, names=several(TEXT), topic_ids=several(UUIDS)),
    CreatePartitions: st.builds(
        CreatePartitions,
        topics=several(
            st.builds(
                NewPartitions,
                name=TEXT,
                partitions=INT32,
                assignments=st.none() | several(several(INT32)),
            )
        ),
        validate_only=FLAG,
    ),
    AlterTopicConfigs: st.builds(AlterTopicConfigs, topics=CHANGES, validate_only=FLAG),
    AlterBrokerConfigs: st.builds(AlterBrokerConfigs, brokers=CHANGES, validate_only=FLAG),
    RegisterBroker: st.builds(
        RegisterBroker,
        cluster_id=TEXT,
        broker_id=INT32,
        incarnation_id=st.binary(max_size=20),
        host=TEXT,
        grpc_port=INT32,
        rack=TEXT,
        clean_shutdown=FLAG,
        directory_id=st.binary(max_size=20),
        voter=FLAG,
        listeners=several(
            st.builds(
                BrokerListener,
                name=TEXT,
                host=TEXT,
                port=INT32,
                security_protocol=TEXT,
                any_address=FLAG,
            )
        ),
    ),
    FenceBroker: life(FenceBroker),
    UnfenceBroker: life(UnfenceBroker),
    BeginShutdown: life(BeginShutdown),
    AllocateProducerIds: life(AllocateProducerIds),
    UnregisterBroker: st.builds(UnregisterBroker, broker_id=INT32),
    SetDraining: st.builds(SetDraining, broker_id=INT32, draining=FLAG),
    AlterPartitions: st.builds(
        AlterPartitions,
        broker_id=INT32,
        broker_epoch=INT64,
        partitions=several(
            st.builds(
                AlterPartition,
                topic_id=UUIDS,
                partition=INT32,
                leader_epoch=INT32,
                partition_epoch=INT32,
                isr=several(st.builds(ProposedMember, INT32, INT64)),
            )
        ),
    ),
    Reassign: st.builds(
        Reassign,
        partitions=several(
            st.builds(Reassignment, topic_partition=PARTITIONS, replicas=several(INT32))
        ),
        keeps_replication_factor=FLAG,
    ),
    ElectLeaders: st.builds(ElectLeaders, partitions=st.none() | several(PARTITIONS), unclean=FLAG),
    EstablishCluster: st.builds(EstablishCluster, cluster_id=TEXT),
    ReadmitVoter: st.builds(ReadmitVoter, broker_id=INT32, directory_id=st.binary(max_size=20)),
    SetFeatureLevel: st.builds(SetFeatureLevel, name=TEXT, level=INT32, validate_only=FLAG),
    AlterClientQuotas: st.builds(
        AlterClientQuotas,
        entities=several(
            st.builds(
                QuotaChanges,
                entity=ENTITIES,
                changes=st.dictionaries(TEXT, st.none() | st.floats(allow_nan=False), max_size=3),
            )
        ),
        validate_only=FLAG,
    ),
}

CREATED = several(
    st.builds(
        CreatedTopic,
        name=TEXT,
        topic_id=st.none() | UUIDS,
        partitions=INT32,
        replication_factor=INT32,
        configs=CONFIGS,
    )
)
TOPICS = several(st.builds(TopicResult, name=TEXT))
OF_PARTITIONS = several(st.builds(PartitionResult, topic_partition=PARTITIONS))

ANSWERS: dict[type, st.SearchStrategy[object]] = {
    CreateTopics: CREATED,
    DeleteTopics: TOPICS,
    CreatePartitions: TOPICS,
    AlterTopicConfigs: TOPICS,
    AlterBrokerConfigs: TOPICS,
    RegisterBroker: INT64,
    FenceBroker: st.none(),
    UnfenceBroker: st.none(),
    BeginShutdown: st.integers(0, 2**31 - 1),
    AllocateProducerIds: st.builds(
        ProducerIdBlock, first=st.integers(0, 2**63 - 1), count=st.integers(0, 2**31 - 1)
    ),
    UnregisterBroker: st.none(),
    SetDraining: st.none(),
    AlterPartitions: OF_PARTITIONS,
    Reassign: OF_PARTITIONS,
    ElectLeaders: OF_PARTITIONS,
    EstablishCluster: TEXT,
    ReadmitVoter: st.none(),
    SetFeatureLevel: st.none(),
    AlterClientQuotas: several(st.builds(QuotaResult, entity=ENTITIES)),
}

KINDS = sorted(get_args(Request), key=lambda kind: kind.__name__)


def test_no_kind_of_request_is_forgotten() -> None:
    kinds = set(get_args(Request))

    assert (set(REQUESTS), set(ANSWERS)) == (kinds, kinds)


def test_every_message_is_a_kind_of_request() -> None:
    fields = ControllerRequest.DESCRIPTOR.oneofs_by_name["kind"].fields

    assert len(fields) == len(KINDS)


@FAST
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_request_arrives_as_it_was_sent(kind: type, data: st.DataObject) -> None:
    request: Any = data.draw(REQUESTS[kind])

    sent = encode_request(request, sender=BrokerId(2), timeout_ms=7)

    received = ControllerRequest.FromString(sent.SerializeToString())
    assert (decode_request(received), received.sender_id, received.timeout_ms) == (request, 2, 7)


@FAST
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_answer_arrives_as_it_was_given(kind: type, data: st.DataObject) -> None:
    request: Any = data.draw(REQUESTS[kind])
    answer = data.draw(ANSWERS[kind])

    sent = encode_answer(request, answer, metadata_offset=9).SerializeToString()

    received = ControllerResponse.FromString(sent)
    assert (decode_answer(request, received), received.metadata_offset) == (answer, 9)
    assert decode_refusal(received) is None


def test_error_of_a_part_keeps_its_class_and_message() -> None:
    request = CreateTopics(topics=())
    failed = CreatedTopic(name="web", error=TopicAlreadyExistsError("there is a topic 'web'"))

    message = encode_answer(request, (failed,), metadata_offset=1)

    (result,) = decode_answer(request, message)
    assert isinstance(result.error, TopicAlreadyExistsError)
    assert str(result.error) == "there is a topic 'web'"


def test_error_of_a_partition_keeps_its_class() -> None:
    request = AlterPartitions(broker_id=BrokerId(1), broker_epoch=BrokerEpoch(2), partitions=())
    failed = PartitionResult(
        topic_partition=TopicPartition("web", 3), error=InvalidRequestError("no")
    )

    message = encode_answer(request, (failed,), metadata_offset=1)

    (result,) = decode_answer(request, message)
    assert isinstance(result.error, InvalidRequestError)


@pytest.mark.parametrize("kind", ERRORS_BY_CODE.values(), ids=lambda kind: kind.name)
def test_refusal_keeps_its_class_and_message(kind: type[OttlaError]) -> None:
    refused = decode_refusal(encode_refusal(kind("for a reason"), controller=None))

    assert refused is not None
    error, controller = refused
    assert (type(error), str(error), controller) == (kind, "for a reason", None)


@pytest.mark.parametrize("controller", [0, 2])
def test_refusal_names_the_controller(controller: int) -> None:
    error = NotControllerError("ask another")

    refused = decode_refusal(encode_refusal(error, controller=BrokerId(controller)))

    assert refused is not None
    assert refused[1] == controller


def test_unknown_kind_of_request_is_refused() -> None:
    with pytest.raises(UnsupportedVersionError, match="same version"):
        decode_request(ControllerRequest(timeout_ms=1))


def test_unknown_operation_on_a_setting_is_refused() -> None:
    message = ControllerRequest()
    message.alter_topic_configs.resources.add(name="web").changes.add(key="a", operation=9)

    with pytest.raises(InvalidRequestError, match="alter_topic_configs"):
        decode_request(message)


def test_topic_id_of_the_wrong_length_is_refused() -> None:
    message = ControllerRequest()
    message.alter_partitions.partitions.add(topic_id=b"short")

    with pytest.raises(InvalidRequestError, match="alter_partitions"):
        decode_request(message)
