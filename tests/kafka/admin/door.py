"""The metadata and administration APIs in front of a controller, asked without a socket."""

from __future__ import annotations

from collections.abc import Awaitable
from concurrent.futures import Executor
from typing import TypeVar, cast

from ottla.cluster.admin_services import QuorumDescription, QuorumNode
from ottla.cluster.cluster_administration import BrokerAdministrationService
from ottla.cluster.cluster_description import BrokerClusterService
from ottla.cluster.configs import BrokerConfigsService
from ottla.cluster.services import Services
from ottla.cluster.topics import BrokerTopicsService
from ottla.config.addresses import Address
from ottla.config.broker_config import broker_config
from ottla.kafka.admin_apis import admin_apis
from ottla.kafka.handling import Connection, RequestContext, ServedApi
from ottla.kafka.metadata_apis import metadata_apis
from ottla.model.ids import BrokerId
from ottla.model.image import BrokerImage, BrokerListener, ClusterImage
from ottla.wire.codec import read_request, read_response, write_message, write_request
from ottla.wire.messages.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from ottla.wire.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from ottla.wire.schema import Message
from tests.cluster.control_plane import ME, ControlPlane, Hosted
from tests.grpc.fakes import ListedLogs, NoGroups, NoQuotas

R = TypeVar("R", bound=Message)

LISTENER = "PLAINTEXT"
BROKER_CONFIGS = {"node.id": str(ME), "log.dir": "/data", "log.retention.ms": "7000"}


def listener(broker: int, *, name: str = LISTENER) -> BrokerListener:
    return BrokerListener(
        name=name, host=f"host-{broker}", port=9092 + broker, security_protocol="PLAINTEXT"
    )


def address_of(broker: BrokerImage, connection: Connection) -> Address | None:
    found = broker.listener(connection.listener)
    return None if found is None else Address(found.host, found.port)


class Quorum:
    """Broker 1 leads, in term 7."""

    def describe(self) -> QuorumDescription:
        return QuorumDescription(
            leader_id=ME,
            term=7,
            applied_index=41,
            nodes=[
                QuorumNode(broker_id=ME, connected=True, log_end_offset=42),
                QuorumNode(broker_id=BrokerId(2), connected=False),
            ],
        )


class AdminDoor:
    """Every API by its key; whatever is asked goes through the codec, there and back."""

    def __init__(self, plane: ControlPlane, *, auto_create: bool = True) -> None:
        self.plane = plane
        self.hosted = Hosted()
        topics = BrokerTopicsService(plane.driver, plane.metadata, self.hosted)
        logs = ListedLogs()
        services = Services(
            produce=logs,
            fetch=logs,
            offsets=logs,
            producer_ids=logs,
            topics=topics,
            configs=BrokerConfigsService(
                plane.driver, plane.metadata, broker_config(BROKER_CONFIGS)
            ),
            cluster=BrokerClusterService(
                plane.metadata,
                topics,
                self.hosted,
                broker_id=ME,
                version="1.2.3",
                started_at_ms=1,
                auto_create_topics=auto_create,
            ),
            administration=BrokerAdministrationService(
                plane.driver, Quorum(), metadata=plane.metadata, workers=Executor()
            ),
            groups=NoGroups(),
            quotas=NoQuotas(),
        )
        served = [*metadata_apis(services, address_of), *admin_apis(services)]
        self.apis: dict[int, ServedApi] = {int(api.api_key): api for api in served}

    @property
    def image(self) -> ClusterImage:
        return self.plane.metadata.image

    async def ask(
        self, request: Message, answered_with: type[R], *, version: int = -1, name: str = LISTENER
    ) -> R:
        """Ask at the newest version, or another; return what the client reads."""
        key = request.API_KEY
        api = self.apis[key]
        version = api.max_version if version < 0 else version
        assert api.min_version <= version <= api.max_version
        sent = memoryview(b"".join(write_request(key, version, request)))
        context = RequestContext(
            api_version=version,
            client_id="test",
            connection=Connection(
                listener=name,
                client=Address("127.0.0.1", 50_000),
                local=Address("127.0.0.1", 9092),
                principal="User:ANONYMOUS",
                number=1,
            ),
        )
        begun = api.handler(context, read_request(key, version, sent, 0))
        response = await cast("Awaitable[Message]", begun)
        received = read_response(key, version, memoryview(write_message(response, version)), 0)
        assert isinstance(received, answered_with)
        return received

    # --- What most tests ask ---

    async def metadata(
        self, *names: str, create: bool = False, version: int = -1, name: str = LISTENER
    ) -> MetadataResponse:
        topics = [MetadataRequestTopic(name=topic) for topic in names]
        request = MetadataRequest(topics=topics, allow_auto_topic_creation=create)
        return await self.ask(request, MetadataResponse, version=version, name=name)

    async def codes_of(self, *names: str, create: bool = False) -> dict[str | None, int]:
        response = await self.metadata(*names, create=create)
        return {topic.name: topic.error_code for topic in response.topics}

    async def create(
        self, *topics: CreatableTopic | str, validate_only: bool = False, version: int = -1
    ) -> CreateTopicsResponse:
        wanted = [
            CreatableTopic(name=topic, num_partitions=-1, replication_factor=-1)
            if isinstance(topic, str)
            else topic
            for topic in topics
        ]
        request = CreateTopicsRequest(topics=wanted, timeout_ms=5_000, validate_only=validate_only)
        return await self.ask(request, CreateTopicsResponse, version=version)
