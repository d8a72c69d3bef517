"""The requests of groups in front of a service that answers as the test says, through the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from uuid import UUID

from ottla.config.addresses import Address
from ottla.coordinator.requests import GroupListing, GroupRequest, ListGroups
from ottla.kafka.group_apis import group_handlers
from ottla.kafka.handling import Connection, RequestContext
from ottla.model.errors import GroupIdNotFoundError, OttlaError
from ottla.model.ids import BrokerId, TopicId
from ottla.model.image import BrokerImage, ClusterImage, TopicImage
from ottla.wire.codec import read_message, read_request, write_message, write_request
from ottla.wire.schema import Message
from tests.cluster.world import broker, partition

T = TypeVar("T")

WEB_ID = TopicId(UUID(int=7))
UNKNOWN_ID = UUID(int=8)


class ScriptedGroups:
    """Answers each kind of request with what the test has set."""

    def __init__(self) -> None:
        self.asked: list[GroupRequest[Any] | ListGroups] = []
        self.answers: dict[type, object] = {}
        self.listed: Sequence[GroupListing] | OttlaError = ()
        self.coordinator: BrokerId | OttlaError = BrokerId(1)

    async def coordinator_of(self, group_id: str) -> BrokerId:
        del group_id
        return _given(self.coordinator)

    async def submit(self, request: GroupRequest[T]) -> T:
        self.asked.append(request)
        nothing = GroupIdNotFoundError(f"no group {request.group_id}")
        return cast("T", _given(self.answers.get(type(request), nothing)))

    async def wait_for_news(self, group_id: str, member_id: str, *, timeout_ms: int) -> bool:
        raise AssertionError(f"no client of Kafka waits: {group_id} {member_id} {timeout_ms}")

    async def list_groups(self, which: ListGroups) -> Sequence[GroupListing]:
        self.asked.append(which)
        return _given(self.listed)


def _given(answer: T | OttlaError) -> T:
    if isinstance(answer, OttlaError):
        raise answer
    return answer


class OneTopic:
    """A cluster of two brokers, the second of them fenced, and the topic ``web``."""

    def __init__(self) -> None:
        topic = TopicImage(topic_id=WEB_ID, name="web", partitions=(partition(),), configs={})
        self.image = ClusterImage(
            cluster_id="c" * 22,
            brokers={
                BrokerId(1): broker(BrokerId(1)),
                BrokerId(2): broker(BrokerId(2), fenced=True),
            },
            topics={"web": topic},
            topic_names={WEB_ID: "web"},
        )


@dataclass
class GroupDoor:
    """What clients ask."""

    groups: ScriptedGroups = field(default_factory=ScriptedGroups)
    cluster: OneTopic = field(default_factory=OneTopic)
    client: Address = Address("127.0.0.1", 50_000)  # noqa: RUF009 -- it never changes
    left_out: list[float] = field(default_factory=list)

    async def ask(self, version: int, request: Message) -> Any:
        """Send a request through the codec of its version, and the response back through it."""
        key, kind = request.API_KEY, type(request)
        frame = b"".join(write_request(key, version, request))
        arrived = read_request(key, version, memoryview(frame), 0)
        assert isinstance(arrived, kind)
        handlers = group_handlers(self.groups, self.cluster, self._address_of)
        (handler,) = [one.handler for one in handlers if one.api_key == key]
        response = await cast("Any", handler(self._context(version), arrived))
        return read_message(type(response), version, write_message(response, version))

    async def handle(self, version: int, request: Message) -> Any:
        """The same without the codec, for what a codec leaves out."""
        handlers = group_handlers(self.groups, self.cluster, self._address_of)
        (handler,) = [one.handler for one in handlers if one.api_key == request.API_KEY]
        return await cast("Any", handler(self._context(version), request))

    def asked(self) -> Any:
        """Return the one request that the service got."""
        (only,) = self.groups.asked
        return only

    def _context(self, version: int) -> RequestContext:
        return RequestContext(
            api_version=version,
            client_id="client",
            connection=Connection(
                listener="PLAINTEXT",
                client=self.client,
                local=Address("127.0.0.1", 9092),
                principal="User:ANONYMOUS",
                number=1,
            ),
            leave_out=self.left_out.append,
        )

    def _address_of(self, asked: BrokerImage, connection: Connection) -> Address | None:
        assert connection.listener == "PLAINTEXT"
        return Address("kafka.example", 9092 + asked.broker_id)
