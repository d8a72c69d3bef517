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

from ottla.coordinator.classic_group import ClassicGroup
from ottla.coordinator.effects import Effects, GroupRecord, Token
from ottla.coordinator.expiry import ExpirySweep, expiry_of
from ottla.coordinator.group_table import GroupTable
from ottla.coordinator.loading import ShardLoading
from ottla.coordinator.offsets import CommittedOffsets
from ottla.coordinator.request_rules import check_group_id
from ottla.coordinator.requests import GroupListing, GroupRequest, ListGroups
from ottla.coordinator.serving import GroupServing, listing
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicId
from ottla.model.image import ClusterImage


class GroupShard:
    """The groups of one partition of ``__consumer_offsets``."""

    def __init__(self, settings: GroupSettings, *, new_member_id: Callable[[str], str]) -> None:
        """Make a shard that is to be loaded.

        ``new_member_id`` makes an id that nobody else has, out of a prefix that people know.
        """
        self._settings = settings
        self._image = ClusterImage(cluster_id="")
        self._offsets = CommittedOffsets(settings.offset_metadata_characters_max)
        self._groups = GroupTable(settings, self._offsets, new_member_id)
        self._serving = GroupServing(settings, self._groups, self._offsets)
        self._sweep = ExpirySweep(settings)
        self._waiting: dict[Token, str] = {}
        self._loading: ShardLoading | None = ShardLoading(self._groups, self._offsets)
        self._deleted_topics: dict[str, set[TopicId]] = {}
        """Whose offsets have not been forgotten yet."""

    def __repr__(self) -> str:
        return f"<GroupShard {len(self._groups)} groups, {len(self._offsets)} offsets>"

    # --- The log ---

    def replay(self, key: bytes, value: bytes | None, timestamp_ms: int) -> None:  # noqa: ARG002
        """Take note of a record; of one that is about something unknown, nothing.

        Raises:
            MalformedError: It is no such record (:mod:`ottla.wire.malformed`).

        """
        assert self._loading is not None, self
        self._loading.replay(key, value, self._image)

    def loaded(self, now_ms: int) -> Effects:
        """Begin to coordinate, now that the log has been read to its end."""
        assert self._loading is not None, self
        effects = Effects()
        self._loading.finish(now_ms, effects)
        self._loading = None
        self._forget_deleted_topics(effects)
        self._sweep.begin(now_ms)
        return effects

    def live_records(self) -> Iterator[GroupRecord]:
        """Yield everything that the log must say.

        Requests may come in between: what is yielded is what holds at that moment, and what has
        come to be since the first was yielded is in the records that came with it.
        """
        yield from self._groups.records()
        yield from self._offsets.records()

    # --- What happens ---

    def image_changed(self, image: ClusterImage, now_ms: int) -> Effects:
        """Take note of topics that were created, that grew, or that are no more."""
        effects = Effects()
        before, self._image = self._image, image
        self._serving.image = image
        if before.topic_names is not image.topic_names:
            for topic_id in before.topic_names.keys() - image.topic_names.keys():
                name = before.topic_names[topic_id]
                self._deleted_topics.setdefault(name, set()).add(topic_id)
        if self._loading is None:
            self._forget_deleted_topics(effects)
        if before.topics is not image.topics:
            for group in self._groups.consumers():
                group.image_changed(image, now_ms)
                self._groups.look_after(group.group_id, now_ms)
        return effects

    def request(self, token: Token, request: GroupRequest[Any], now_ms: int) -> Effects:
        """Serve a request; it is answered in these effects or in later ones."""
        assert self._loading is None, self
        assert token not in self._waiting, token
        effects = Effects()
        try:
            check_group_id(request)
            self._serving.serve(token, request, now_ms, effects)
        except OttlaError as error:
            effects.answer(token, error, after_commit=False)
        self._waiting[token] = request.group_id
        self._groups.look_after(request.group_id, now_ms)
        return self._settled(effects)

    def cancel(self, token: Token) -> None:
        """Let nobody wait for an answer any longer. What follows comes with the next tick."""
        group_id = self._waiting.pop(token, None)
        if group_id is None:
            return
        group = self._groups.classic(group_id)
        assert group is not None, group_id
        group.cancel(token)
        # It is looked at at once; what time it is the tick will know.
        self._groups.timers.set(group_id, 0)

    def deadline_ms(self) -> int | None:
        """Return when :meth:`tick` has something to do; ``None``: not before something happens."""
        deadlines = (self._groups.timers.deadline_ms(), self._sweep.deadline_ms)
        return min((one for one in deadlines if one is not None), default=None)

    def tick(self, now_ms: int) -> Effects:
        """Do what the time has come for."""
        effects = Effects()
        due = []
        while (group_id := self._groups.timers.pop_due(now_ms)) is not None:
            due.append(group_id)
        for group_id in due:
            group = self._groups.get(group_id)
            assert group is not None, group_id
            group.tick(now_ms, effects)
            self._groups.look_after(group_id, now_ms)
        for group_id in self._sweep.groups_due(now_ms, self._groups.group_ids, self._offsets.count):
            self._expire(group_id, now_ms, effects)
        return self._settled(effects)

    def resign(self, error: OttlaError) -> Effects:
        """Coordinate no more: everybody who waits is answered with an error."""
        effects = Effects()
        for group_id in set(self._waiting.values()):
            group = self._groups.classic(group_id)
            assert group is not None, group_id
            group.resign(error, effects)
        return self._settled(effects)

    # --- What is asked without waiting ---

    def list_groups(self, which: ListGroups) -> list[GroupListing]:
        """Return the groups in some states, of some types."""
        states = {state.lower() for state in which.states}
        types = {one.lower() for one in which.types}
        return [
            one
            for one in map(listing, self._groups)
            if (not states or one.state.lower() in states)
            and (not types or one.group_type.value in types)
        ]

    def has_news(self, group_id: str, member_id: str) -> bool:
        """Return whether a member of a consumer group should send a heartbeat, to hear of it."""
        group = self._groups.consumer(group_id)
        return group is None or group.has_news(member_id)

    def revision(self, group_id: str) -> int:
        """Return a number that changes whenever :meth:`has_news` may have; -1: no such group."""
        group = self._groups.consumer(group_id)
        return -1 if group is None else group.revision

    # --- Inside ---

    def _expire(self, group_id: str, now_ms: int, effects: Effects) -> None:
        group = self._groups.get(group_id)
        if group is None:
            return
        expiry = expiry_of(group, self._groups.empty_since_ms(group), self._settings, now_ms)
        if expiry is not None:
            self._offsets.expire(group_id, expiry, effects)
        expected = isinstance(group, ClassicGroup) and group.members.pending
        if group.is_empty and not expected and not self._offsets.has_any(group_id):
            self._groups.bury(group, effects)
            self._groups.forget(group_id)

    def _forget_deleted_topics(self, effects: Effects) -> None:
        if self._deleted_topics:
            self._offsets.topics_deleted(self._deleted_topics, effects)
            self._deleted_topics.clear()

    def _settled(self, effects: Effects) -> Effects:
        for answer in effects.answers:
            self._waiting.pop(answer.token, None)
        return effects
