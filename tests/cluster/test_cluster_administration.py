"""Administration is one request to the controller each; the quorum is told as this node sees it."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, overload
from uuid import UUID

import pytest

from ottla.cluster.admin_services import QuorumNode
from ottla.cluster.cluster_administration import (
    PLANNED_AT_ONCE_MAX,
    BrokerAdministrationService,
    OfferedDirectory,
    QuorumState,
)
from ottla.cluster.metadata_cache import MetadataCache
from ottla.controller.raft.consensus import Role, RoleChanged
from ottla.controller.requests import (
    AlterClientQuotas,
    ElectLeaders,
    PartitionResult,
    QuotaChanges,
    QuotaResult,
    ReadmitVoter,
    Reassign,
    Reassignment,
    SetDraining,
    SetFeatureLevel,
    UnregisterBroker,
)
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    ElectionNotNeededError,
    InvalidRequestError,
)
from ottla.model.ids import NO_BROKER, BrokerId, MetadataOffset, TopicId, TopicPartition
from ottla.model.image import ClusterImage, QuotaEntity, TopicImage
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX
from tests.cluster.world import broker, partition

WEB_0 = TopicPartition("web", 0)
ONE, TWO, THREE = map(BrokerId, (1, 2, 3))


class AtOnce(Executor):
    """Works while one waits, and counts."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, work: Any, /, *arguments: Any, **keywords: Any) -> Future[Any]:
        self.submitted += 1
        future: Future[Any] = Future()
        future.set_result(work(*arguments, **keywords))
        return future


class Controller:
    """Does everything it is asked for, except for elections."""

    def __init__(self) -> None:
        self.requests: list[object] = []

    @overload
    async def submit(
        self, request: Reassign | ElectLeaders, *, timeout_ms: int
    ) -> tuple[PartitionResult, ...]: ...
    @overload
    async def submit(
        self, request: AlterClientQuotas, *, timeout_ms: int
    ) -> tuple[QuotaResult, ...]: ...
    @overload
    async def submit(
        self,
        request: SetDraining | UnregisterBroker | ReadmitVoter | SetFeatureLevel,
        *,
        timeout_ms: int,
    ) -> None: ...
    async def submit(self, request: object, *, timeout_ms: int) -> object:
        assert timeout_ms > 0
        self.requests.append(request)
        if isinstance(request, Reassign):
            return tuple(
                PartitionResult(topic_partition=each.topic_partition) for each in request.partitions
            )
        if isinstance(request, AlterClientQuotas):
            return tuple(QuotaResult(entity=each.entity) for each in request.entities)
        if isinstance(request, ElectLeaders):
            return tuple(
                PartitionResult(topic_partition=each, error=ElectionNotNeededError("led already"))
                for each in request.partitions or (WEB_0,)
            )
        return None


@dataclass(frozen=True)
class Offered:
    directory_id: bytes


@dataclass
class Links:
    present: frozenset[BrokerId] = frozenset()
    refused: dict[BrokerId, Offered] = field(default_factory=dict)


class NoLinks:
    """Of a broker that is alone in its quorum."""

    def __init__(self) -> None:
        self.present: frozenset[BrokerId] = frozenset()
        self.refused: dict[BrokerId, OfferedDirectory] = {}


def quorum_state(links: Links | NoLinks) -> QuorumState:
    metadata = MetadataCache(ClusterImage(cluster_id="c", metadata_offset=MetadataOffset(42)))
    return QuorumState(broker_id=ONE, voters={THREE, ONE, TWO}, links=links, metadata=metadata)


def service_of(controller: Controller, image: ClusterImage) -> BrokerAdministrationService:
    return BrokerAdministrationService(
        controller, quorum_state(NoLinks()), metadata=MetadataCache(image), workers=AtOnce()
    )


def cluster_of(partitions: int) -> ClusterImage:
    """Three brokers, two of which have everything."""
    parts = tuple(partition((ONE, TWO), leader=ONE) for _ in range(partitions))
    topic = TopicImage(topic_id=TopicId(UUID(int=5)), name="web", partitions=parts, configs={})
    return ClusterImage(
        cluster_id="c",
        brokers={broker_id: broker(broker_id) for broker_id in (ONE, TWO, THREE)},
        topics={"web": topic},
        topic_names={topic.topic_id: "web"},
    )


@pytest.fixture
def controller() -> Controller:
    return Controller()


@pytest.fixture
def service(controller: Controller) -> BrokerAdministrationService:
    return service_of(controller, ClusterImage(cluster_id="c"))


async def test_each_partition_of_a_request_has_its_result(
    controller: Controller, service: BrokerAdministrationService
) -> None:
    moves = [Reassignment(topic_partition=WEB_0, replicas=(TWO, THREE))]

    assert await service.reassign(moves) == [(WEB_0, None)]
    ((partition, error),) = await service.elect_leaders([WEB_0], unclean=True)

    assert (partition, type(error)) == (WEB_0, ElectionNotNeededError)
    assert controller.requests == [
        Reassign(partitions=tuple(moves)),
        ElectLeaders(partitions=(WEB_0,), unclean=True),
    ]


async def test_no_partition_named_means_all_that_need_an_election(
    controller: Controller, service: BrokerAdministrationService
) -> None:
    await service.elect_leaders([], unclean=False)

    assert controller.requests == [ElectLeaders(partitions=None)]


async def test_brokers_and_voters_are_changed_by_one_request_each(
    controller: Controller, service: BrokerAdministrationService
) -> None:
    await service.set_draining(TWO, draining=True)
    await service.unregister_broker(TWO)
    await service.readmit_voter(THREE, b"d" * 16)

    assert controller.requests == [
        SetDraining(broker_id=TWO, draining=True),
        UnregisterBroker(broker_id=TWO),
        ReadmitVoter(broker_id=THREE, directory_id=b"d" * 16),
    ]


async def test_plan_evens_out_what_brokers_have(controller: Controller) -> None:
    service = service_of(controller, cluster_of(partitions=3))

    moves = await service.plan_rebalancing([])

    assert {move.topic_partition.topic for move in moves} == {"web"}
    assert sum(THREE in move.replicas for move in moves) == 2
    assert all(tuple(move.replicas_before) == (ONE, TWO) for move in moves)
    assert not controller.requests


async def test_plan_for_a_broker_to_be_drained_leaves_it_nothing(controller: Controller) -> None:
    service = service_of(controller, cluster_of(partitions=3))

    moves = await service.plan_rebalancing([TWO])

    assert [TWO in move.replicas for move in moves] == [False] * 3


async def test_broker_that_is_not_there_cannot_be_planned_for(controller: Controller) -> None:
    service = service_of(controller, cluster_of(partitions=1))

    with pytest.raises(BrokerIdNotRegisteredError, match="there are 1, 2, 3"):
        await service.plan_rebalancing([BrokerId(9)])


@pytest.mark.parametrize(("partitions", "jobs"), [(10, 0), (PLANNED_AT_ONCE_MAX + 1, 1)])
async def test_large_cluster_is_not_planned_for_on_the_event_loop(
    controller: Controller, partitions: int, jobs: int
) -> None:
    workers = AtOnce()
    service = BrokerAdministrationService(
        controller,
        quorum_state(NoLinks()),
        metadata=MetadataCache(cluster_of(partitions)),
        workers=workers,
    )

    assert await service.plan_rebalancing([])
    assert workers.submitted == jobs


async def test_too_many_partitions_are_refused(
    controller: Controller, service: BrokerAdministrationService
) -> None:
    many = [TopicPartition("web", n) for n in range(PARTITIONS_PER_REQUEST_MAX + 1)]

    with pytest.raises(InvalidRequestError, match="name at most"):
        await service.elect_leaders(many, unclean=False)
    assert not controller.requests


async def test_quotas_and_features_are_one_request_each() -> None:
    controller = Controller()
    service = service_of(controller, cluster_of(1))
    wanted = QuotaChanges(entity=QuotaEntity("ann"), changes={"producer_byte_rate": 1.0})

    assert await service.alter_client_quotas([wanted], validate_only=True) == [None]
    await service.set_feature_level("metadata.version", 1, validate_only=False)

    assert controller.requests == [
        AlterClientQuotas(entities=(wanted,), validate_only=True),
        SetFeatureLevel(name="metadata.version", level=1),
    ]


def test_quorum_is_described_with_links_and_refused_voters() -> None:
    state = quorum_state(Links(frozenset({TWO}), {THREE: Offered(b"new")}))
    assert state.describe().leader_id == NO_BROKER

    state.role_changed(RoleChanged(Role.FOLLOWER, 7, TWO))

    described = state.describe()
    assert (described.leader_id, described.term, described.applied_index) == (TWO, 7, 42)
    assert described.nodes == [
        QuorumNode(broker_id=ONE, connected=True, log_end_offset=43),
        QuorumNode(broker_id=TWO, connected=True),
        QuorumNode(broker_id=THREE, connected=False, offered_directory_id=b"new"),
    ]


def test_leader_names_itself() -> None:
    state = quorum_state(NoLinks())
    state.role_changed(RoleChanged(Role.LEADER, 8, None))

    assert state.describe().leader_id == ONE
