"""The controller's answers as messages between brokers, and back.

What a request is answered with depends on its kind alone, so the message does not repeat it:
whoever reads an answer knows what was asked. Errors keep their class and their message, those of a
part of a request and those of all of it.

An answer also says where in the metadata log what it is about can be seen, so that a broker which
asked another one can wait until it has heard of it, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar, assert_never, cast
from uuid import UUID

from ottla.cluster.grpc.errors import to_message
from ottla.cluster.quota_messages import quota_entity_in, quota_entity_message
from ottla.controller.requests import (
    AllocateProducerIds,
    AlterBrokerConfigs,
    AlterClientQuotas,
    AlterPartitions,
    AlterTopicConfigs,
    Asks,
    BeginShutdown,
    CreatedTopic,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    EstablishCluster,
    FenceBroker,
    PartitionResult,
    ProducerIdBlock,
    QuotaResult,
    ReadmitVoter,
    Reassign,
    RegisterBroker,
    Request,
    SetDraining,
    SetFeatureLevel,
    TopicResult,
    UnfenceBroker,
    UnregisterBroker,
)
from ottla.model.errors import OttlaError, error_for
from ottla.model.ids import BrokerEpoch, BrokerId, ProducerId, TopicId, TopicPartition
from ottla.v1 import types_pb2
from ottla.v1.controller_pb2 import ControllerResponse

Answer = TypeVar("Answer")


def encode_answer(
    request: Asks[Answer], answer: Answer, *, metadata_offset: int
) -> ControllerResponse:
    """Return the message that answers ``request``."""
    message = ControllerResponse(metadata_offset=metadata_offset)
    match cast("Request", request):
        case CreateTopics():
            created = cast("Iterable[CreatedTopic]", answer)
            message.results.extend(map(_created_topic, created))
        case DeleteTopics() | CreatePartitions() | AlterTopicConfigs() | AlterBrokerConfigs():
            message.results.extend(map(_topic_result, cast("Iterable[TopicResult]", answer)))
        case AlterPartitions() | Reassign() | ElectLeaders():
            partitions = cast("Iterable[PartitionResult]", answer)
            message.results.extend(map(_partition_result, partitions))
        case AlterClientQuotas():
            quotas = cast("Iterable[QuotaResult]", answer)
            message.results.extend(map(_quota_result, quotas))
        case RegisterBroker():
            message.broker_epoch = cast("BrokerEpoch", answer)
        case BeginShutdown():
            message.partitions_led = cast("int", answer)
        case AllocateProducerIds():
            block = cast("ProducerIdBlock", answer)
            message.first_producer_id = block.first
            message.producer_id_count = block.count
        case EstablishCluster():
            message.cluster_id = cast("str", answer)
        case (
            FenceBroker()
            | UnfenceBroker()
            | UnregisterBroker()
            | SetDraining()
            | ReadmitVoter()
            | SetFeatureLevel()
        ):
            pass
        case _ as unknown:
            assert_never(unknown)
    return message


def decode_answer(request: Asks[Answer], message: ControllerResponse) -> Answer:
    """Return the answer to ``request``. It is no refusal: see :func:`decode_refusal`."""
    answer: object = None
    match cast("Request", request):
        case CreateTopics():
            answer = tuple(map(_to_created_topic, message.results))
        case DeleteTopics() | CreatePartitions() | AlterTopicConfigs() | AlterBrokerConfigs():
            answer = tuple(
                TopicResult(name=result.name, error=_to_error(result)) for result in message.results
            )
        case AlterPartitions() | Reassign() | ElectLeaders():
            answer = tuple(
                PartitionResult(
                    topic_partition=TopicPartition(result.name, result.partition),
                    error=_to_error(result),
                )
                for result in message.results
            )
        case AlterClientQuotas():
            answer = tuple(
                QuotaResult(entity=quota_entity_in(result.entity), error=_to_error(result))
                for result in message.results
            )
        case RegisterBroker():
            answer = BrokerEpoch(message.broker_epoch)
        case BeginShutdown():
            answer = message.partitions_led
        case AllocateProducerIds():
            answer = ProducerIdBlock(
                first=ProducerId(message.first_producer_id), count=message.producer_id_count
            )
        case EstablishCluster():
            answer = message.cluster_id
        case (
            FenceBroker()
            | UnfenceBroker()
            | UnregisterBroker()
            | SetDraining()
            | ReadmitVoter()
            | SetFeatureLevel()
        ):
            pass
        case _ as unknown:
            assert_never(unknown)
    return cast("Answer", answer)


def encode_refusal(error: OttlaError, *, controller: BrokerId | None) -> ControllerResponse:
    """Return the message that refuses a request as a whole; ``controller`` is whom to ask."""
    return ControllerResponse(error=to_message(error), controller_id=controller)


def decode_refusal(message: ControllerResponse) -> tuple[OttlaError, BrokerId | None] | None:
    """Return why the request was refused, and whom to ask instead; ``None`` if it was served."""
    error = _to_error(message)
    if error is None:
        return None
    known = message.HasField("controller_id")
    return error, BrokerId(message.controller_id) if known else None


def _created_topic(topic: CreatedTopic) -> ControllerResponse.Result:
    return ControllerResponse.Result(
        name=topic.name,
        error=_error(topic.error),
        topic_id=b"" if topic.topic_id is None else topic.topic_id.bytes,
        partitions=topic.partitions,
        replication_factor=topic.replication_factor,
        configs=topic.configs,
    )


def _to_created_topic(result: ControllerResponse.Result) -> CreatedTopic:
    return CreatedTopic(
        name=result.name,
        error=_to_error(result),
        topic_id=TopicId(UUID(bytes=result.topic_id)) if result.topic_id else None,
        partitions=result.partitions,
        replication_factor=result.replication_factor,
        configs=dict(result.configs),
    )


def _topic_result(topic: TopicResult) -> ControllerResponse.Result:
    return ControllerResponse.Result(name=topic.name, error=_error(topic.error))


def _partition_result(result: PartitionResult) -> ControllerResponse.Result:
    name, partition = result.topic_partition
    return ControllerResponse.Result(name=name, partition=partition, error=_error(result.error))


def _quota_result(result: QuotaResult) -> ControllerResponse.Result:
    return ControllerResponse.Result(
        entity=quota_entity_message(result.entity), error=_error(result.error)
    )


def _error(error: OttlaError | None) -> types_pb2.Error | None:
    return None if error is None else to_message(error)


def _to_error(message: ControllerResponse.Result | ControllerResponse) -> OttlaError | None:
    if not message.HasField("error"):
        return None
    return error_for(message.error.code, message.error.message)
