"""``ottla.v1.Configs``: settings of topics and brokers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ottla.cluster.admin_services import ConfigEntry, Resource, ResourceType
from ottla.cluster.grpc.calls import Calls
from ottla.cluster.grpc.errors import to_message
from ottla.cluster.services import Services
from ottla.controller.requests import ConfigChange, ConfigOperation
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.v1 import configs_pb2, configs_pb2_grpc

if TYPE_CHECKING:
    from ottla.cluster.grpc.errors import Context


class ConfigsServicer(configs_pb2_grpc.ConfigsServicer):
    """Translates; see ``proto/ottla/v1/configs.proto`` for what each method means."""

    def __init__(self, services: Services, calls: Calls) -> None:
        self._configs = services.configs
        self._calls = calls

    async def DescribeConfigs(
        self, request: configs_pb2.DescribeConfigsRequest, context: Context
    ) -> configs_pb2.DescribeConfigsResponse:
        async with self._calls.call("DescribeConfigs", context):
            return await self._describe(request)

    async def AlterConfigs(
        self, request: configs_pb2.AlterConfigsRequest, context: Context
    ) -> configs_pb2.AlterConfigsResponse:
        async with self._calls.call("AlterConfigs", context):
            return await self._alter(request)

    async def _describe(
        self, request: configs_pb2.DescribeConfigsRequest
    ) -> configs_pb2.DescribeConfigsResponse:
        results = self._configs.describe_configs(
            [(_resource(asked.resource), list(asked.keys)) for asked in request.resources]
        )
        response = configs_pb2.DescribeConfigsResponse()
        for asked, result in zip(request.resources, results, strict=True):
            answer = response.resources.add(resource=asked.resource)
            if isinstance(result, OttlaError):
                answer.error.CopyFrom(to_message(result))
            else:
                answer.entries.extend(map(_entry, result))
        return response

    async def _alter(
        self, request: configs_pb2.AlterConfigsRequest
    ) -> configs_pb2.AlterConfigsResponse:
        results = await self._configs.alter_configs(
            [
                (_resource(asked.resource), [_change(change) for change in asked.changes])
                for asked in request.resources
            ],
            validate_only=request.validate_only,
        )
        response = configs_pb2.AlterConfigsResponse()
        for asked, result in zip(request.resources, results, strict=True):
            answer = response.resources.add(resource=asked.resource)
            if result is not None:
                answer.error.CopyFrom(to_message(result))
        return response


def _resource(resource: configs_pb2.ConfigResource) -> Resource:
    try:
        return Resource(ResourceType(resource.type), resource.name)
    except ValueError:
        raise InvalidRequestError(
            f"{resource.name!r} is of type {resource.type}, which has no settings; "
            "ask for a TOPIC (2) or a BROKER (4)"
        ) from None


def _change(change: configs_pb2.AlterConfigsRequest.Change) -> ConfigChange:
    try:
        operation = ConfigOperation(change.operation)
    except ValueError:
        raise InvalidRequestError(
            f"{change.key}: there is no operation {change.operation}; "
            "use SET, DELETE, APPEND or SUBTRACT"
        ) from None
    return ConfigChange(key=change.key, operation=operation, value=change.value)


def _entry(entry: ConfigEntry) -> configs_pb2.ConfigEntry:
    return configs_pb2.ConfigEntry(
        key=entry.key,
        value=entry.value,
        default_value=entry.default,
        source=cast("configs_pb2.ConfigEntry.Source", entry.source.value),
        read_only=entry.read_only,
        sensitive=entry.sensitive,
        documentation=entry.documentation,
    )
