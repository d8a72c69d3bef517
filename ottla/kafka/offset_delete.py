"""``OffsetDelete``: forget what a group committed for some partitions."""

from __future__ import annotations

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.group_requests import code_of
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition
from ottla.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)


class OffsetDeleteHandler:
    """Version 0."""

    def __init__(self, service: GroupsService) -> None:
        self._groups = service

    async def __call__(
        self, context: RequestContext, request: OffsetDeleteRequest
    ) -> OffsetDeleteResponse:
        """Answer each partition by itself, unless the group itself is the problem."""
        del context
        partitions = [
            TopicPartition(topic.name, partition.partition_index)
            for topic in request.topics
            for partition in topic.partitions
        ]
        try:
            outcomes = await self._groups.submit(
                groups.DeleteOffsets(group_id=request.group_id, partitions=partitions)
            )
        except OttlaError as error:
            return OffsetDeleteResponse(error_code=error.code)
        codes = map(code_of, outcomes)
        return OffsetDeleteResponse(
            topics=[
                OffsetDeleteResponseTopic(
                    name=topic.name,
                    partitions=[
                        OffsetDeleteResponsePartition(
                            partition_index=partition.partition_index, error_code=next(codes)
                        )
                        for partition in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )
