"""Changes of who serves what: moves of partitions, elections, brokers that come and go.

Every change is one request to the controller, wherever it is; what may be asked, and what comes of
it, is said in :mod:`ottla.controller.requests`. Here it only gets a deadline and an answer.

How the metadata quorum is doing is told from this broker's own place in it: its links, its term.
Two brokers may say different things, and that is often what somebody who looks wants to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, overload

from ottla.cluster.admin_services import PlannedMove, QuorumDescription, QuorumNode
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.services import Result
from ottla.controller.raft.consensus import Role, RoleChanged
from ottla.controller.rebalancing import plan_rebalancing
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
from ottla.model.errors import BrokerIdNotRegisteredError, InvalidRequestError
from ottla.model.ids import NO_BROKER, BrokerId, TopicPartition
from ottla.model.image import ClusterImage
from ottla.model.limits import ADMIN_TIMEOUT_DEFAULT_MS, PARTITIONS_PER_REQUEST_MAX

PLANNED_AT_ONCE_MAX: Final = 100
"""Partitions of a cluster that is planned for on the event loop: that takes some 10 ms."""


class Administered(Protocol):
    """The controller, as this service uses it."""

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


class QuorumView(Protocol):
    """The metadata quorum, as this service describes it."""

    def describe(self) -> QuorumDescription:
        """Describe it as it is now."""


class OfferedDirectory(Protocol):
    """Of a voter that was refused because it has lost its memory."""

    @property
    def directory_id(self) -> bytes:
        """The data directory that it has now."""


class Links(Protocol):
    """The links of this node to the other voters."""

    @property
    def present(self) -> Collection[BrokerId]:
        """The voters that there is a link with."""

    @property
    def refused(self) -> Mapping[BrokerId, OfferedDirectory]:
        """The voters that were refused a link."""


class QuorumState:
    """The quorum as this node sees it: hears of its role, asks its links and the metadata."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        voters: Collection[BrokerId],
        links: Links,
        metadata: MetadataCache,
    ) -> None:
        """Wire it; ``voters`` has all of them, this broker included if it votes."""
        self._broker_id = broker_id
        self._voters = frozenset(voters)
        self._links = links
        self._metadata = metadata
        self._role = RoleChanged(Role.FOLLOWER, 0, None)

    def __repr__(self) -> str:
        return f"<QuorumState of {self._broker_id}: {self._role}>"

    def role_changed(self, change: RoleChanged) -> None:
        """Hear of the node's role in the quorum; see ``RaftObserver``."""
        self._role = change

    def describe(self) -> QuorumDescription:
        """See :class:`QuorumView`."""
        present, refused = self._links.present, self._links.refused
        leader = self._broker_id if self._role.role is Role.LEADER else self._role.leader
        return QuorumDescription(
            leader_id=NO_BROKER if leader is None else BrokerId(leader),
            term=self._role.term,
            applied_index=self._metadata.image.metadata_offset,
            nodes=[
                QuorumNode(
                    broker_id=voter,
                    connected=voter == self._broker_id or voter in present,
                    offered_directory_id=(refused[voter].directory_id if voter in refused else b""),
                    log_end_offset=self._log_end_offset(voter),
                )
                for voter in sorted(self._voters)
            ],
        )

    def _log_end_offset(self, voter: BrokerId) -> int:
        # What is applied here is in the log here; how far others are, their leader knows alone.
        return self._metadata.image.metadata_offset + 1 if voter == self._broker_id else -1


class BrokerAdministrationService:
    """See :class:`~ottla.cluster.services.AdministrationService`."""

    def __init__(
        self,
        controller: Administered,
        quorum: QuorumView,
        *,
        metadata: MetadataCache,
        workers: Executor,
    ) -> None:
        """Ask ``controller``; what takes long is done on the threads of ``workers``."""
        self._controller = controller
        self._quorum = quorum
        self._metadata = metadata
        self._workers = workers

    def describe_quorum(self) -> QuorumDescription:
        return self._quorum.describe()

    async def reassign(
        self, partitions: Sequence[Reassignment], *, keeps_replication_factor: bool = False
    ) -> list[tuple[TopicPartition, Result[None]]]:
        _check_count(len(partitions))
        return _results(
            await self._controller.submit(
                Reassign(
                    partitions=tuple(partitions),
                    keeps_replication_factor=keeps_replication_factor,
                ),
                timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
            )
        )

    async def plan_rebalancing(self, draining: Collection[BrokerId]) -> list[PlannedMove]:
        image = _with_draining(self._metadata.image, draining)
        if sum(len(topic.partitions) for topic in image.topics.values()) <= PLANNED_AT_ONCE_MAX:
            return _plan(image)
        return await asyncio.get_running_loop().run_in_executor(
            self._workers, partial(_plan, image)
        )

    async def elect_leaders(
        self, partitions: Sequence[TopicPartition], *, unclean: bool
    ) -> list[tuple[TopicPartition, Result[None]]]:
        _check_count(len(partitions))
        return _results(
            await self._controller.submit(
                ElectLeaders(partitions=tuple(partitions) or None, unclean=unclean),
                timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
            )
        )

    async def set_draining(self, broker_id: BrokerId, *, draining: bool) -> None:
        await self._controller.submit(
            SetDraining(broker_id=broker_id, draining=draining),
            timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
        )

    async def unregister_broker(self, broker_id: BrokerId) -> None:
        await self._controller.submit(
            UnregisterBroker(broker_id=broker_id), timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS
        )

    async def readmit_voter(self, broker_id: BrokerId, directory_id: bytes) -> None:
        await self._controller.submit(
            ReadmitVoter(broker_id=broker_id, directory_id=directory_id),
            timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
        )

    async def alter_client_quotas(
        self, entities: Sequence[QuotaChanges], *, validate_only: bool
    ) -> list[Result[None]]:
        results = await self._controller.submit(
            AlterClientQuotas(entities=tuple(entities), validate_only=validate_only),
            timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
        )
        return [result.error for result in results]

    async def set_feature_level(self, name: str, level: int, *, validate_only: bool) -> None:
        await self._controller.submit(
            SetFeatureLevel(name=name, level=level, validate_only=validate_only),
            timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
        )


def _with_draining(image: ClusterImage, draining: Collection[BrokerId]) -> ClusterImage:
    brokers = dict(image.brokers)
    for broker_id in draining:
        if broker_id not in brokers:
            known = ", ".join(map(str, sorted(brokers)))
            raise BrokerIdNotRegisteredError(f"there is no broker {broker_id}; there are {known}")
        brokers[broker_id] = replace(brokers[broker_id], draining=True)
    return replace(image, brokers=brokers)


def _plan(image: ClusterImage) -> list[PlannedMove]:
    moves = []
    for planned in plan_rebalancing(image):
        before = image.partition(planned.topic_partition)
        assert before is not None, planned
        moves.append(
            PlannedMove(
                topic_partition=planned.topic_partition,
                replicas_before=before.replicas,
                replicas=planned.replicas,
            )
        )
    return moves


def _check_count(count: int) -> None:
    if count > PARTITIONS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"the request names {count} partitions; name at most {PARTITIONS_PER_REQUEST_MAX}"
        )


def _results(
    results: Sequence[PartitionResult],
) -> list[tuple[TopicPartition, Result[None]]]:
    return [(result.topic_partition, result.error) for result in results]
