"""The broker's gRPC port.

Start and stop are stories with an end. Start: bind, listen, and tell the health service when
whoever owns the server says that requests are welcome. Stop: say ``NOT_SERVING``, take no more
calls, let those under way finish within the grace given, cut off the rest.

Bounds: the size of a message, the number of calls on one connection and on all, and the time that
a silent connection may stay before it has to prove that somebody is there.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Final

import grpc
from grpc_health.v1 import _async as aio_health
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ottla.cluster.grpc.calls import Calls
from ottla.cluster.grpc.cluster_servicer import ClusterServicer
from ottla.cluster.grpc.configs_servicer import ConfigsServicer
from ottla.cluster.grpc.groups_servicer import GroupsServicer
from ottla.cluster.grpc.log_servicer import LogServicer
from ottla.cluster.grpc.topics_servicer import TopicsServicer
from ottla.cluster.services import Services
from ottla.model.limits import (
    GRPC_CALLS_MAX,
    GRPC_CALLS_PER_CONNECTION_MAX,
    GRPC_CLIENT_PING_INTERVAL_MIN_MS,
    GRPC_KEEPALIVE_INTERVAL_MS,
    GRPC_KEEPALIVE_TIMEOUT_MS,
    REQUEST_BYTES_MAX,
)
from ottla.runtime.clock import Clock
from ottla.v1 import (
    cluster_pb2,
    cluster_pb2_grpc,
    configs_pb2,
    configs_pb2_grpc,
    groups_pb2,
    groups_pb2_grpc,
    log_pb2,
    log_pb2_grpc,
    topics_pb2,
    topics_pb2_grpc,
)

_OPTIONS: Final = [
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_concurrent_streams", GRPC_CALLS_PER_CONNECTION_MAX),
    ("grpc.keepalive_time_ms", GRPC_KEEPALIVE_INTERVAL_MS),
    ("grpc.keepalive_timeout_ms", GRPC_KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.min_ping_interval_without_data_ms", GRPC_CLIENT_PING_INTERVAL_MIN_MS),
    # Two brokers on one port must be an error, not a lottery.
    ("grpc.so_reuseport", 0),
]

_SERVICE_NAMES: Final = tuple(
    service.full_name
    for module in (log_pb2, topics_pb2, configs_pb2, cluster_pb2, groups_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)


class GrpcServer:
    """Serves the API on one port."""

    def __init__(
        self,
        services: Services,
        clock: Clock,
        calls: Calls,
        *,
        credentials: grpc.ServerCredentials | None = None,
        between_brokers: Sequence[Callable[[grpc.aio.Server], None]] = (),
    ) -> None:
        """Prepare; ``credentials`` turn TLS on. Call on the event loop that is to serve.

        ``between_brokers`` add the services that only other brokers call.
        """
        self._credentials = credentials
        self._server = server = grpc.aio.server(
            options=_OPTIONS, maximum_concurrent_rpcs=GRPC_CALLS_MAX
        )
        self._health = aio_health.HealthServicer()
        log_pb2_grpc.add_LogServicer_to_server(LogServicer(services, clock, calls), server)
        topics_pb2_grpc.add_TopicsServicer_to_server(TopicsServicer(services, calls), server)
        configs_pb2_grpc.add_ConfigsServicer_to_server(
            ConfigsServicer(services, calls), self._server
        )
        cluster_pb2_grpc.add_ClusterServicer_to_server(
            ClusterServicer(services, calls), self._server
        )
        groups_pb2_grpc.add_GroupsServicer_to_server(
            GroupsServicer(services, clock, calls), self._server
        )
        for add_to in between_brokers:
            add_to(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*_SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )

    async def start(self, host: str, port: int) -> int:
        """Bind and listen; return the port, which is a free one if 0 was asked for.

        Raises:
            OSError: the address cannot be bound; ``EADDRINUSE`` if the port is taken.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._credentials is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise OSError(errno.EADDRINUSE, str(error), address) from None
        if bound == 0:
            raise OSError(errno.EADDRINUSE, "address in use or not of this machine", address)
        await self.announce(serving=False)
        await self._server.start()
        return bound

    async def announce(self, *, serving: bool) -> None:
        """Tell those who ask the health service whether requests are welcome."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        names: Sequence[str] = ("", *_SERVICE_NAMES)
        for name in names:
            await self._health.set(name, status)

    async def stop(self, *, grace_s: float) -> None:
        """Refuse new calls, wait up to ``grace_s`` for those under way, and close the port."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
