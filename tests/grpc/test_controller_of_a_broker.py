"""Requests to the controller and sessions with it hold over real connections, and end with them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import grpc
import pytest

from ottla.cluster.broker_sessions import BrokerSessionsShell, Heartbeat
from ottla.cluster.controller_answers import decode_answer, decode_refusal
from ottla.cluster.controller_codec import encode_request
from ottla.cluster.grpc.channels import BrokerChannels
from ottla.cluster.grpc.controller_servicer import ControllerServicer
from ottla.cluster.grpc.far_controllers import GrpcFarControllers
from ottla.config.addresses import Address
from ottla.controller.raft.consensus import Role, RoleChanged
from ottla.controller.requests import CreateTopics, NewTopic, Request, UnfenceBroker
from ottla.controller.sessions import BrokerSessions
from ottla.model.errors import (
    BrokerNotAvailableError,
    ClusterAuthorizationError,
    NotControllerError,
    OttlaError,
    RequestTimedOutError,
    RetriableError,
    StaleBrokerEpochError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, MetadataOffset
from ottla.runtime.system_clock import SystemClock
from tests.cluster.control_plane import ME, ControlPlane, control_plane

OTHER = BrokerId(2)
LONG_MS = 10_000


class Controlled:
    """A broker that is the controller, its port, and another broker's connections."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.shell = BrokerSessionsShell(
            broker_id=ME,
            controller=plane.driver,
            metadata=plane.metadata,
            clock=SystemClock(),
            linked=lambda: {OTHER},
            new_sessions=lambda: BrokerSessions(
                session_timeout_ms=LONG_MS, reconnect_grace_ms=150, takeover_grace_ms=250
            ),
            session_timeout_ms=LONG_MS,
        )
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        ControllerServicer(plane.driver, self.shell, broker_id=ME).add_to(self.server)
        self.address = Address("127.0.0.1", self.server.add_insecure_port("127.0.0.1:0"))
        self.channels = BrokerChannels()
        self.far = GrpcFarControllers(self.channels)

    def lead_again(self) -> None:
        self.plane.driver.role_changed(RoleChanged(Role.LEADER, 3, ME))

    def heartbeat(self, *, later_life: int = 0) -> Heartbeat:
        epoch = self.plane.image.brokers[OTHER].broker_epoch + later_life
        return Heartbeat(OTHER, BrokerEpoch(epoch), MetadataOffset(0))

    async def submit(
        self, request: Request, *, sender: int = OTHER
    ) -> tuple[OttlaError, BrokerId | None] | None:
        """Return the refusal, if it is refused."""
        await self.far.connect(self.address)
        message = encode_request(request, sender=BrokerId(sender), timeout_ms=LONG_MS)
        answer = await self.far.submit(self.address, message, timeout_ms=LONG_MS)
        return decode_refusal(answer)


@pytest.fixture
async def controlled() -> AsyncIterator[Controlled]:
    async with control_plane(brokers=2) as plane:
        broker = Controlled(plane)
        broker.lead_again()  # the shell has come too late for the first time
        await plane.driver.wait_active()
        sessions = asyncio.create_task(broker.shell.run())
        await broker.server.start()
        yield broker
        sessions.cancel()
        await asyncio.wait([sessions])
        await broker.channels.close()
        await broker.server.stop(0)


def create(name: str) -> CreateTopics:
    return CreateTopics(topics=(NewTopic(name=name, partitions=1),))


# --- Submit -----------------------------------------------------------------------------


async def test_request_of_another_broker_is_served(controlled: Controlled) -> None:
    await controlled.far.connect(controlled.address)
    message = encode_request(create("web"), sender=OTHER, timeout_ms=LONG_MS)

    response = await controlled.far.submit(controlled.address, message, timeout_ms=LONG_MS)

    (created,) = decode_answer(create("web"), response)
    assert created.topic_id == controlled.plane.topic("web").topic_id
    assert response.metadata_offset == controlled.plane.image.metadata_offset


async def test_refusal_crosses_the_wire_with_its_class(controlled: Controlled) -> None:
    stale = UnfenceBroker(broker_id=OTHER, broker_epoch=BrokerEpoch(1))

    refused = await controlled.submit(stale)

    assert refused is not None
    assert isinstance(refused[0], StaleBrokerEpochError)


async def test_broker_that_is_not_the_controller_names_it(controlled: Controlled) -> None:
    controlled.plane.step_down()

    refused = await controlled.submit(create("web"))

    assert refused is not None
    assert isinstance(refused[0], NotControllerError)
    assert refused[1] == 2


async def test_broker_speaks_for_itself_alone(controlled: Controlled) -> None:
    epoch = controlled.plane.image.brokers[OTHER].broker_epoch

    refused = await controlled.submit(UnfenceBroker(broker_id=OTHER, broker_epoch=epoch), sender=3)

    assert refused is not None
    assert isinstance(refused[0], ClusterAuthorizationError)


async def test_closed_port_is_certain(controlled: Controlled) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = Address("127.0.0.1", taken.getsockname()[1])

        with pytest.raises(BrokerNotAvailableError):
            await asyncio.wait_for(controlled.far.connect(closed), 5)


async def test_connection_that_breaks_meanwhile_leaves_the_outcome_open(
    controlled: Controlled,
) -> None:
    controlled.plane.quorum.before_each = lambda: None
    message = encode_request(create("web"), sender=OTHER, timeout_ms=LONG_MS)
    await controlled.far.connect(controlled.address)
    controlled.plane.driver.role_changed(RoleChanged(Role.LEADER, 9, ME))
    controlled.plane.quorum.failures = [RequestTimedOutError("no answer")] * 1_000_000
    submitting = asyncio.create_task(
        controlled.far.submit(controlled.address, message, timeout_ms=LONG_MS)
    )
    await asyncio.sleep(0.1)

    await controlled.server.stop(0)

    with pytest.raises(RequestTimedOutError, match="may still be made"):
        await submitting
    controlled.plane.quorum.failures.clear()


# --- Session ----------------------------------------------------------------------------


async def test_heartbeats_are_answered(controlled: Controlled) -> None:
    session = await controlled.far.open_session(controlled.address)

    first = await session.beat(controlled.heartbeat())
    controlled.plane.fence(OTHER)
    controlled.plane.publish()
    second = await session.beat(controlled.heartbeat())

    assert (first.fenced, second.fenced) == (False, True)
    assert second.metadata_offset == controlled.plane.image.metadata_offset
    session.close()


async def test_session_of_an_earlier_life_is_refused_for_good(controlled: Controlled) -> None:
    session = await controlled.far.open_session(controlled.address)

    with pytest.raises(StaleBrokerEpochError, match="two processes"):
        await session.beat(controlled.heartbeat(later_life=-1))


async def test_session_ends_when_the_controller_is_deposed(controlled: Controlled) -> None:
    session = await controlled.far.open_session(controlled.address)
    await session.beat(controlled.heartbeat())

    controlled.plane.step_down()
    await asyncio.wait_for(session.wait_ended(), 5)

    with pytest.raises(RetriableError):
        await session.beat(controlled.heartbeat())


async def test_broker_hears_of_a_broken_session_at_once(controlled: Controlled) -> None:
    session = await controlled.far.open_session(controlled.address)
    await session.beat(controlled.heartbeat())

    await controlled.server.stop(0)
    await asyncio.wait_for(session.wait_ended(), 5)

    with pytest.raises(BrokerNotAvailableError):
        await session.beat(controlled.heartbeat())


async def test_controller_fences_a_broker_whose_session_broke(controlled: Controlled) -> None:
    session = await controlled.far.open_session(controlled.address)
    await session.beat(controlled.heartbeat())
    await session.beat(controlled.heartbeat())

    session.close()

    await controlled.plane.metadata.wait_for(
        lambda image: image.brokers[OTHER].fenced, timeout_ms=5_000, what="fencing"
    )
