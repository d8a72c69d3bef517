"""Which group a request goes to, and what happens if it is of another kind or is not there.

=====================  ======================  ==========================  =========================
Request                no such group           a consumer group            a classic group
=====================  ======================  ==========================  =========================
``JoinGroup``          is made, for somebody   becomes classic if empty,   joins
                       without an id           else 23
``SyncGroup``,         25                      25                          done
``Heartbeat``
``LeaveGroup``         25 for each member      done                        done
``ConsumerHeartbeat``  is made, to join        done                        turns consumer if empty,
                       (epoch 0), else 69                                  to join, else 69
``CommitOffsets``      is made, without a      done                        done
                       generation, else 69;
                       22 for old clients
``FetchOffsets``       nothing committed       done                        done
``DeleteOffsets``      69                      done                        68 if it has members that
                                                                           are no consumers
``DeleteGroup``        69                      68 if it has members        68 if it has members
``Describe...``        69                      as a consumer group,        as a classic group,
                                               else 69                     else 69
=====================  ======================  ==========================  =========================

The numbers are Kafka's error codes: 22 ``ILLEGAL_GENERATION``, 23 ``INCONSISTENT_GROUP_PROTOCOL``,
25 ``UNKNOWN_MEMBER_ID``, 68 ``NON_EMPTY_GROUP``, 69 ``GROUP_ID_NOT_FOUND``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ottla.coordinator import classic_requests
from ottla.coordinator.classic_group import ClassicGroup
from ottla.coordinator.classic_joining import ClassicJoining
from ottla.coordinator.classic_member import PER_MEMBER_BYTES, protocol_bytes
from ottla.coordinator.consumer_group import ConsumerGroup
from ottla.coordinator.consumer_member import MemberProfile
from ottla.coordinator.consumer_protocol import CONSUMER_PROTOCOL_TYPE
from ottla.coordinator.consumer_requests import check_heartbeat
from ottla.coordinator.effects import Effects, Token
from ottla.coordinator.group_table import Group, GroupTable
from ottla.coordinator.offsets import CommittedOffsets
from ottla.coordinator.request_rules import check_join
from ottla.coordinator.requests import (
    CommitOffsets,
    ConsumerHeartbeat,
    ConsumerJoin,
    DeleteGroup,
    DeleteOffsets,
    DescribeClassicGroup,
    DescribeConsumerGroup,
    FetchOffsets,
    GroupListing,
    GroupRequest,
    GroupType,
    Heartbeat,
    JoinGroup,
    LeaveGroup,
    SyncGroup,
)
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import (
    GroupIdNotFoundError,
    GroupSubscribedToTopicError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    NonEmptyGroupError,
    OttlaError,
    UnknownMemberIdError,
)
from ottla.model.ids import TopicId
from ottla.model.image import ClusterImage


class GroupServing:
    """Serves requests to the groups of a shard."""

    def __init__(
        self, settings: GroupSettings, groups: GroupTable, offsets: CommittedOffsets
    ) -> None:
        """Serve these groups; :attr:`image` is to be kept current."""
        self.image = ClusterImage(cluster_id="")
        self._settings = settings
        self._groups = groups
        self._offsets = offsets

    def serve(
        self, token: Token, request: GroupRequest[Any], now_ms: int, effects: Effects
    ) -> None:
        """Serve a request; raise the error to answer it with."""
        match request:
            case CommitOffsets():
                self._commit(token, request, now_ms, effects)
            case FetchOffsets():
                self._fetch(token, request, effects)
            case DeleteOffsets():
                self._delete_offsets(token, request, effects)
            case DeleteGroup():
                self._delete_group(token, request, effects)
            case DescribeClassicGroup():
                effects.answer(token, classic_requests.describe(self._known_classic(request)))
            case DescribeConsumerGroup():
                effects.answer(token, self._known_consumer(request).describe())
            case _:
                self._serve_member(token, request, now_ms, effects)

    def _serve_member(
        self, token: Token, request: GroupRequest[Any], now_ms: int, effects: Effects
    ) -> None:
        match request:
            case JoinGroup():
                self._join(token, request, now_ms, effects)
            case SyncGroup():
                group = self._group_of_member(request)
                assigned = sum(len(member.assignment) for member in group.members)
                assignments = sum(map(len, request.assignments.values()))
                self._groups.check_room(request.group_id, assignments - assigned)
                classic_requests.sync(group, token, request, now_ms, effects)
            case Heartbeat():
                group = self._group_of_member(request)
                classic_requests.heartbeat(group, token, request, now_ms, effects)
            case LeaveGroup():
                self._leave(token, request, now_ms, effects)
            case ConsumerHeartbeat():
                self._consumer_heartbeat(token, request, now_ms, effects)
            case _:
                raise AssertionError(request)

    # --- Members ---

    def _join(self, token: Token, request: JoinGroup, now_ms: int, effects: Effects) -> None:
        check_join(request, self._settings)
        present = self._groups.get(request.group_id)
        self._groups.check_room(request.group_id, _bytes_more(request, present))
        if isinstance(present, ConsumerGroup) and not present.is_empty:
            raise InconsistentGroupProtocolError(
                f"Group {request.group_id!r} has members of the new consumer protocol"
                " (group.protocol=consumer). Use it as well, or stop them first."
            )
        if not isinstance(present, ClassicGroup):
            if request.member_id:
                raise _nobody(request, request.member_id)
            if present is not None:
                self._groups.bury(present, effects)
            present = self._groups.make_classic(request.group_id, now_ms)
        ClassicJoining(present, token, request, now_ms, effects).join()

    def _leave(self, token: Token, request: LeaveGroup, now_ms: int, effects: Effects) -> None:
        group = self._groups.get(request.group_id)
        if group is None:
            nobody = [_nobody(request, member.member_id) for member in request.members]
            effects.answer(token, nobody, after_commit=False)
        elif isinstance(group, ConsumerGroup):
            effects.answer(token, group.leave(request.members, now_ms, effects))
        else:
            classic_requests.leave(group, token, request, now_ms, effects)

    def _consumer_heartbeat(
        self, token: Token, request: ConsumerHeartbeat, now_ms: int, effects: Effects
    ) -> None:
        check_heartbeat(request, self._settings)
        if request.subscribed_topic_names is not None:
            told = MemberProfile().told(request)
            known = self._groups.consumer(request.group_id)
            before = 0 if known is None else known.bytes_of(request.member_id)
            self._groups.check_room(request.group_id, told.bytes_held - before)
        present = self._groups.get(request.group_id)
        if isinstance(present, ConsumerGroup):
            effects.answer(token, present.heartbeat(request, now_ms, effects))
            return
        if request.member_epoch != ConsumerJoin.JOIN:
            raise GroupIdNotFoundError(f"There is no consumer group {request.group_id!r}.")
        if present is not None and not present.is_empty:
            raise GroupIdNotFoundError(
                f"Group {request.group_id!r} has members of the classic protocol"
                " (group.protocol=classic). Use it as well, or stop them first."
            )
        self._groups.check_room(request.group_id, 0)
        group = self._groups.make_consumer(request.group_id, self.image)
        later = Effects()
        answer = group.heartbeat(request, now_ms, later)
        if present is not None:
            self._groups.bury(present, effects)
        self._groups.keep(group)
        effects.records += later.records
        effects.answer(token, answer)

    # --- Offsets ---

    def _commit(self, token: Token, request: CommitOffsets, now_ms: int, effects: Effects) -> None:
        group = self._groups.get(request.group_id)
        refused: Sequence[OttlaError | None] = ()
        if group is None:
            if request.generation_or_member_epoch >= 0:
                raise _no_group_to_commit_for(request)
            self._groups.check_room(request.group_id, 0)
            group = self._groups.make_classic(request.group_id, now_ms)
        if isinstance(group, ConsumerGroup):
            refused = group.check_commit(request)
        else:
            classic_requests.check_commit(group, request, now_ms)
        outcomes = self._offsets.commit(request, refused, self._topic_id_of, now_ms, effects)
        effects.answer(token, outcomes)

    def _fetch(self, token: Token, request: FetchOffsets, effects: Effects) -> None:
        group = self._groups.consumer(request.group_id)
        if group is not None:
            group.check_fetch(request.member_id, request.member_epoch)
        effects.answer(token, self._offsets.fetch(request.group_id, request.partitions))

    def _delete_offsets(self, token: Token, request: DeleteOffsets, effects: Effects) -> None:
        group = self._groups.known(request)
        if isinstance(group, ClassicGroup) and not group.is_empty and not group.is_of_consumers:
            raise _not_empty(group)
        outcomes: list[OttlaError | None] = []
        for topic_partition in request.partitions:
            if group.is_subscribed_to(topic_partition.topic):
                outcomes.append(
                    GroupSubscribedToTopicError(
                        f"Members of group {group.group_id!r} read {topic_partition.topic!r}, so"
                        " that its offsets stay. Stop them first."
                    )
                )
            else:
                self._offsets.delete(group.group_id, [topic_partition], effects)
                outcomes.append(None)
        effects.answer(token, outcomes)

    def _topic_id_of(self, topic: str) -> TopicId | None:
        image = self.image.topics.get(topic)
        return None if image is None else image.topic_id

    # --- Groups ---

    def _delete_group(self, token: Token, request: DeleteGroup, effects: Effects) -> None:
        group = self._groups.known(request)
        if not group.is_empty:
            raise _not_empty(group)
        self._offsets.delete_group(group.group_id, effects)
        self._groups.bury(group, effects)
        self._groups.forget(group.group_id)
        effects.answer(token, None)

    def _group_of_member(self, request: SyncGroup | Heartbeat) -> ClassicGroup:
        group = self._groups.classic(request.group_id)
        if group is None:
            raise _nobody(request, request.member_id)
        return group

    def _known_classic(self, request: DescribeClassicGroup) -> ClassicGroup:
        group = self._groups.known(request)
        if not isinstance(group, ClassicGroup):
            raise GroupIdNotFoundError(
                f"Group {request.group_id!r} is a consumer group, not a classic one."
            )
        return group

    def _known_consumer(self, request: DescribeConsumerGroup) -> ConsumerGroup:
        group = self._groups.known(request)
        if not isinstance(group, ConsumerGroup):
            raise GroupIdNotFoundError(
                f"Group {request.group_id!r} is a classic group, not a consumer group."
            )
        return group


def _bytes_more(request: JoinGroup, group: Group | None) -> int:
    """Return what somebody who joins takes more than it does already, roughly."""
    size = PER_MEMBER_BYTES + protocol_bytes(request.protocols)
    if not isinstance(group, ClassicGroup):
        return size
    member = group.members.get(request.member_id)
    if member is None and request.group_instance_id is not None:
        member = group.members.of_instance(request.group_instance_id)
    return size if member is None else size - member.bytes_held


def listing(group: Group) -> GroupListing:
    """Return a group as a list has it."""
    if isinstance(group, ClassicGroup):
        return classic_requests.listing(group)
    return GroupListing(
        group_id=group.group_id,
        group_type=GroupType.CONSUMER,
        protocol_type=CONSUMER_PROTOCOL_TYPE,
        state=group.state,
    )


def _nobody(request: GroupRequest[Any], member_id: str) -> UnknownMemberIdError:
    return UnknownMemberIdError(
        f"There is no classic group {request.group_id!r}, and so no member {member_id!r}: join it."
    )


def _not_empty(group: Group) -> NonEmptyGroupError:
    return NonEmptyGroupError(f"Group {group.group_id!r} has members. Stop them first.")


def _no_group_to_commit_for(request: CommitOffsets) -> OttlaError:
    text = f"There is no group {request.group_id!r} to be a member of: join it first."
    # Clients before KIP-848 only know that they may be in a generation that has ended.
    if request.understands_stale_epochs:
        return GroupIdNotFoundError(text)
    return IllegalGenerationError(text)
