"""One partition of ``__consumer_offsets``, as a machine: its groups and their offsets.

The broker that leads the partition coordinates the groups that belong to it. It reads the log into
a shard, and from then on asks the shard, which touches nothing (:mod:`~ottla.coordinator.effects`
has the rules)::

    shard = GroupShard(settings, new_member_id=...)
    shard.image_changed(image, now_ms)                 # and whenever the image changes
    for record in log: shard.replay(key, value, timestamp_ms)
    perform(shard.loaded(now_ms))
    perform(shard.request(token, request, now_ms))     # for each request
    perform(shard.tick(now_ms))                        # when deadline_ms() has come; look again
                                                       # at it after every call
    perform(shard.resign(error))                       # at the end

``now_ms`` is the wall clock, which the shell keeps from going back: what is written of it outlives
the broker.

A request that raises an :exc:`~ottla.model.errors.OttlaError` is answered with it. A group comes
to be when somebody joins it or commits an offset for it. Those of which the log knows go when they
are empty and have no offsets, which is looked for every ``offsets.retention.check.interval.ms``,
a few thousand offsets at a time.

The log is kept short by writing :meth:`GroupShard.live_records` anew. That is everything which it
must say, key by key, so that nothing here may depend on the order of records of different keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ottla.coordinator import classic_requests
from ottla.coordinator.classic_group import ClassicGroup
from ottla.coordinator.classic_joining import ClassicJoining
from ottla.coordinator.classic_member import protocol_bytes
from ottla.coordinator.effects import Effects, GroupRecord, Token
from ottla.coordinator.expiry import ExpirySweep, expiry_of
from ottla.coordinator.offsets import CommittedOffsets
from ottla.coordinator.records import read_group, read_offset
from ottla.coordinator.request_rules import check_group_id, check_join
from ottla.coordinator.requests import (
    CommitOffsets,
    DeleteGroup,
    DeleteOffsets,
    DescribeClassicGroup,
    FetchOffsets,
    GroupListing,
    GroupRequest,
    Heartbeat,
    JoinGroup,
    LeaveGroup,
    ListGroups,
    SyncGroup,
)
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.timers import Timers
from ottla.model.errors import (
    GroupIdNotFoundError,
    GroupMaxSizeReachedError,
    GroupSubscribedToTopicError,
    IllegalGenerationError,
    NonEmptyGroupError,
    OttlaError,
    UnknownMemberIdError,
    UnsupportedVersionError,
)
from ottla.model.ids import TopicId, TopicPartition
from ottla.model.image import ClusterImage
from ottla.model.limits import GROUP_MEMBER_BYTES_PER_SHARD_MAX, GROUPS_PER_SHARD_MAX
from ottla.wire.group_records import (
    GroupMetadataKey,
    LegacyOffsetCommitKey,
    OffsetCommitKey,
    read_record_key,
)


class GroupShard:
    """The groups of one partition of ``__consumer_offsets``."""

    def __init__(self, settings: GroupSettings, *, new_member_id: Callable[[str], str]) -> None:
        """Make a shard that is to be loaded.

        ``new_member_id`` makes an id that nobody else has, out of a prefix that people know.
        """
        self._settings = settings
        self._new_member_id = new_member_id
        self._image: ClusterImage | None = None
        self._groups: dict[str, ClassicGroup] = {}
        self._offsets = CommittedOffsets(settings.offset_metadata_characters_max)
        self._timers: Timers[str] = Timers()
        """When groups have something to do."""
        self._waiting: dict[Token, str] = {}
        self._member_bytes: dict[str, int] = {}
        self._member_bytes_sum = 0
        self._sweep = ExpirySweep(settings)
        self._is_loaded = False
        self._read: dict[str, GroupRecord] = {}
        """The last record of each classic group, while the log is read."""
        self._deleted_topics: dict[str, set[TopicId]] = {}
        """Those that went while the log was read."""

    def __repr__(self) -> str:
        return f"<GroupShard {len(self._groups)} groups, {len(self._offsets)} offsets>"

    # --- The log ---

    def replay(self, key: bytes, value: bytes | None, timestamp_ms: int) -> None:  # noqa: ARG002
        """Take note of a record. Raises :exc:`~ottla.wire.malformed.MalformedError`."""
        assert not self._is_loaded, self
        about = read_record_key(key)
        if isinstance(about, OffsetCommitKey | LegacyOffsetCommitKey):
            topic_partition = TopicPartition(about.topic, about.partition)
            if value is None:
                self._offsets.remove(about.group, topic_partition)
            else:
                self._offsets.put(about.group, topic_partition, read_offset(value))
        elif isinstance(about, GroupMetadataKey):
            if value is None:
                self._read.pop(about.group, None)
            else:
                self._read[about.group] = GroupRecord(key, value)

    def loaded(self, now_ms: int) -> Effects:
        """Begin to coordinate, now that the log has been read to its end."""
        assert not self._is_loaded, self
        self._is_loaded = True
        effects = Effects()
        for group_id, record in self._read.items():
            assert record.value is not None
            group = self._new_group(group_id, now_ms)
            group.restore(read_group(record.value), record)
        self._read.clear()
        for group_id in self._offsets.group_ids:
            if group_id not in self._groups:
                self._new_group(group_id, now_ms)
        for group_id, group in list(self._groups.items()):
            group.loaded(now_ms, effects)
            self._look_after(group_id)
        self._offsets.topics_deleted(self._deleted_topics, effects)
        self._deleted_topics.clear()
        self._sweep.begin(now_ms)
        return effects

    def live_records(self) -> Iterator[GroupRecord]:
        """Yield everything that the log must say.

        Requests may come in between: what is yielded is what holds at that moment, and what has
        come to be since the first was yielded is in the records that came with it.
        """
        for group_id in list(self._groups):
            group = self._groups.get(group_id)
            if group is not None and group.stored is not None:
                yield group.stored
        yield from self._offsets.records()

    # --- What happens ---

    def image_changed(self, image: ClusterImage, now_ms: int) -> Effects:  # noqa: ARG002
        """Take note of topics that were created, that grew, or that are no more."""
        effects = Effects()
        before, self._image = self._image, image
        if before is not None and before.topic_names is not image.topic_names:
            for topic_id in before.topic_names.keys() - image.topic_names.keys():
                name = before.topic_names[topic_id]
                self._deleted_topics.setdefault(name, set()).add(topic_id)
        if self._is_loaded and self._deleted_topics:
            self._offsets.topics_deleted(self._deleted_topics, effects)
            self._deleted_topics.clear()
        return effects

    def request(self, token: Token, request: GroupRequest[Any], now_ms: int) -> Effects:
        """Serve a request; it is answered in these effects or in later ones."""
        assert self._is_loaded, self
        assert token not in self._waiting, token
        effects = Effects()
        try:
            check_group_id(request)
            self._serve(token, request, now_ms, effects)
        except OttlaError as error:
            effects.answer(token, error, after_commit=False)
        if all(answer.token != token for answer in effects.answers):
            self._waiting[token] = request.group_id
        self._look_after(request.group_id)
        return self._settled(effects)

    def cancel(self, token: Token) -> None:
        """Let nobody wait for an answer any longer. What follows comes with the next tick."""
        group_id = self._waiting.pop(token, None)
        if group_id is not None:
            self._groups[group_id].cancel(token)
            self._look_after(group_id)

    def deadline_ms(self) -> int | None:
        """Return when :meth:`tick` has something to do; ``None``: not before something happens."""
        deadlines = (self._timers.deadline_ms(), self._sweep.deadline_ms)
        return min((one for one in deadlines if one is not None), default=None)

    def tick(self, now_ms: int) -> Effects:
        """Do what the time has come for."""
        effects = Effects()
        due = []
        while (group_id := self._timers.pop_due(now_ms)) is not None:
            due.append(group_id)
        for group_id in due:
            self._groups[group_id].tick(now_ms, effects)
            self._look_after(group_id)
        for group_id in self._sweep.groups_due(now_ms, self._groups, self._offsets.count):
            self._expire(group_id, now_ms, effects)
        return self._settled(effects)

    def resign(self, error: OttlaError) -> Effects:
        """Coordinate no more: everybody who waits is answered with an error."""
        effects = Effects()
        for group_id in set(self._waiting.values()):
            self._groups[group_id].resign(error, effects)
        return self._settled(effects)

    def list_groups(self, which: ListGroups) -> list[GroupListing]:
        """Return the groups in some states, of some types."""
        states = {state.lower() for state in which.states}
        types = {one.lower() for one in which.types}
        listings = (classic_requests.listing(group) for group in self._groups.values())
        return [
            listing
            for listing in listings
            if (not states or listing.state.lower() in states)
            and (not types or listing.group_type.value in types)
        ]

    # --- Requests ---

    def _serve(
        self, token: Token, request: GroupRequest[Any], now_ms: int, effects: Effects
    ) -> None:
        match request:
            case JoinGroup():
                self._join(token, request, now_ms, effects)
            case SyncGroup():
                group = self._group_of_member(request)
                classic_requests.sync(group, token, request, now_ms, effects)
            case Heartbeat():
                group = self._group_of_member(request)
                classic_requests.heartbeat(group, token, request, now_ms, effects)
            case LeaveGroup():
                self._leave(token, request, now_ms, effects)
            case CommitOffsets():
                self._commit(token, request, now_ms, effects)
            case FetchOffsets():
                effects.answer(token, self._offsets.fetch(request.group_id, request.partitions))
            case DeleteOffsets():
                self._delete_offsets(token, request, effects)
            case DeleteGroup():
                self._delete_group(token, request, effects)
            case DescribeClassicGroup():
                effects.answer(token, classic_requests.describe(self._known_group(request)))
            case _:
                raise UnsupportedVersionError(f"This coordinator does not serve {request!r}.")

    def _join(self, token: Token, request: JoinGroup, now_ms: int, effects: Effects) -> None:
        check_join(request, self._settings)
        size = self._member_bytes_sum + protocol_bytes(request.protocols)
        if size > GROUP_MEMBER_BYTES_PER_SHARD_MAX:
            raise GroupMaxSizeReachedError(
                f"The coordinator of group {request.group_id!r} holds {self._member_bytes_sum}"
                " bytes of subscriptions and assignments, and takes no more."
            )
        group = self._groups.get(request.group_id)
        if group is None:
            if request.member_id:
                raise self._nobody(request, request.member_id)
            group = self._room_for_group(request.group_id, now_ms)
        ClassicJoining(group, token, request, now_ms, effects).join()

    def _leave(self, token: Token, request: LeaveGroup, now_ms: int, effects: Effects) -> None:
        group = self._groups.get(request.group_id)
        if group is None:
            nobody = [self._nobody(request, member.member_id) for member in request.members]
            effects.answer(token, nobody, after_commit=False)
            return
        classic_requests.leave(group, token, request, now_ms, effects)

    def _commit(self, token: Token, request: CommitOffsets, now_ms: int, effects: Effects) -> None:
        group = self._groups.get(request.group_id)
        if group is None:
            if request.generation_or_member_epoch >= 0:
                raise self._no_group_to_commit_for(request)
            group = self._room_for_group(request.group_id, now_ms)
        classic_requests.check_commit(group, request, now_ms)
        outcomes = self._offsets.commit(request, (), self._topic_id_of, now_ms, effects)
        effects.answer(token, outcomes)

    def _delete_offsets(self, token: Token, request: DeleteOffsets, effects: Effects) -> None:
        group = self._known_group(request)
        if not group.is_empty and not group.is_of_consumers:
            raise self._not_empty(group)
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

    def _delete_group(self, token: Token, request: DeleteGroup, effects: Effects) -> None:
        group = self._known_group(request)
        if not group.is_empty:
            raise self._not_empty(group)
        self._offsets.delete_group(group.group_id, effects)
        self._forget(group, effects)
        effects.answer(token, None)

    # --- Groups ---

    def _known_group(self, request: GroupRequest[Any]) -> ClassicGroup:
        group = self._groups.get(request.group_id)
        if group is None:
            raise GroupIdNotFoundError(f"There is no group {request.group_id!r}.")
        return group

    def _group_of_member(self, request: SyncGroup | Heartbeat) -> ClassicGroup:
        group = self._groups.get(request.group_id)
        if group is None:
            raise self._nobody(request, request.member_id)
        return group

    def _room_for_group(self, group_id: str, now_ms: int) -> ClassicGroup:
        if len(self._groups) >= GROUPS_PER_SHARD_MAX:
            raise GroupMaxSizeReachedError(
                f"The coordinator of group {group_id!r} has {GROUPS_PER_SHARD_MAX} groups, and"
                " takes no more. Delete groups that nobody uses."
            )
        return self._new_group(group_id, now_ms)

    def _new_group(self, group_id: str, now_ms: int) -> ClassicGroup:
        group = ClassicGroup(group_id, self._settings, self._new_member_id, now_ms)
        self._groups[group_id] = group
        return group

    def _expire(self, group_id: str, now_ms: int, effects: Effects) -> None:
        group = self._groups.get(group_id)
        if group is None:
            return
        expiry = expiry_of(group, self._settings, now_ms)
        if expiry is not None:
            self._offsets.expire(group_id, expiry, effects)
        if group.is_empty and not group.members.pending and not self._offsets.has_any(group_id):
            self._forget(group, effects)

    def _forget(self, group: ClassicGroup, effects: Effects) -> None:
        group.bury(effects)
        del self._groups[group.group_id]
        self._look_after(group.group_id)

    def _look_after(self, group_id: str) -> None:
        """Take note of what has become of a group; of a new one that nobody joined, nothing."""
        group = self._groups.get(group_id)
        if group is not None and group.is_unknown and not self._offsets.has_any(group_id):
            del self._groups[group_id]
            group = None
        deadline_ms = None if group is None else group.deadline_ms()
        if deadline_ms is None:
            self._timers.cancel(group_id)
        else:
            self._timers.set(group_id, deadline_ms)
        bytes_held = 0 if group is None else group.members.bytes_held
        self._member_bytes_sum += bytes_held - self._member_bytes.pop(group_id, 0)
        if bytes_held:
            self._member_bytes[group_id] = bytes_held

    def _settled(self, effects: Effects) -> Effects:
        for answer in effects.answers:
            self._waiting.pop(answer.token, None)
        return effects

    def _topic_id_of(self, topic: str) -> TopicId | None:
        image = None if self._image is None else self._image.topics.get(topic)
        return None if image is None else image.topic_id

    # --- Errors ---

    @staticmethod
    def _nobody(request: GroupRequest[Any], member_id: str) -> UnknownMemberIdError:
        return UnknownMemberIdError(
            f"There is no group {request.group_id!r}, and so no member {member_id!r}: join anew."
        )

    @staticmethod
    def _not_empty(group: ClassicGroup) -> NonEmptyGroupError:
        return NonEmptyGroupError(
            f"Group {group.group_id!r} has {len(group.members)} members. Stop them first."
        )

    @staticmethod
    def _no_group_to_commit_for(request: CommitOffsets) -> OttlaError:
        text = f"There is no group {request.group_id!r} to be a member of: join it first."
        # Clients before KIP-848 only know that they may be in a generation that has ended.
        return (
            GroupIdNotFoundError(text)
            if request.understands_stale_epochs
            else IllegalGenerationError(text)
        )
