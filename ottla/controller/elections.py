"""Who leads a partition, who is in sync and who is eligible, whatever happens. Pure functions.

Words
-----
A *holder* of a partition has every committed record of it. Members of the in-sync set (ISR) are
holders, because nothing is committed without all of them. *Eligible leader replicas* (ELR,
KIP-966) are holders too: they left the in-sync set when it fell below ``min.insync.replicas``,
and since then nothing was committed, for a leader commits only while enough replicas are in sync.
So ISR and ELR together keep at least ``min.insync.replicas`` holders, whatever order brokers
come and go in, until they lose what they have on disk.

A broker is *electable* if it is unfenced and is not stopping in good order.

Who leads: the first of these that there is
-------------------------------------------
1. The present leader, if it is in sync and electable. Moving costs every client a round trip.
2. The first replica, in the order of preference, that is in sync and electable.
3. The first eligible one that is electable. It is then the in-sync set, all of it.
4. The present leader, if it is in sync and only stopping: better than nobody until it is gone.
5. Only if the topic allows unclean elections, or somebody asks for one: the first replica that is
   electable. It is then the in-sync set, and nobody is eligible: what the others have and it has
   not is lost.
6. Nobody. The partition waits for a holder to come back.

Who is in sync and who is eligible
----------------------------------
* A broker that is fenced leaves the in-sync set, so that writes go on without it. *The last
  member stays*, fenced: it is the holder that the partition waits for. If an eligible replica
  serves, that one leads instead (3), and the former last member becomes eligible.
* Who leaves a set that falls below ``min.insync.replicas`` becomes eligible. As soon as the
  in-sync set has as many again, nobody is eligible: records are committed that those may lack.
* A broker that *lost* its replicas is no holder: it leaves both sets, even as the last. If nobody
  is left in either, the partition is offline until an unclean election. Two things lose replicas:
  another data directory; and, for a topic with ``write.caching``, an unclean end, for a record may
  have been acknowledged from memory. In the latter case the last holder stays all the same: what
  it still has is the best there is, and waiting would not bring more. (KIP-966 remembers it as the
  "last known leader", for the same use.) Without write caching, records are acknowledged when they
  are on disk, and a broker that is killed loses none of them.

Epochs
------
Every change raises the partition epoch. A change of leader, to nobody included, also raises the
leader epoch, by which replicas and clients tell a new reign from an old one; and so does the
removal of a replica, so that the leader forgets how far it was before it may come back, empty.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import NamedTuple

from ottla.controller.topic_rules import TopicRules
from ottla.model.ids import NO_BROKER, BrokerId, LeaderEpoch, PartitionEpoch
from ottla.model.image import ClusterImage, PartitionImage

NOBODY: frozenset[BrokerId] = frozenset()


class Available(NamedTuple):
    """The unfenced brokers."""

    electable: frozenset[BrokerId]
    stopping: frozenset[BrokerId] = NOBODY
    """Those that are shutting down in good order."""

    def without(self, broker: BrokerId) -> Available:
        """Return the brokers that are left when ``broker`` is fenced."""
        return Available(self.electable - {broker}, self.stopping - {broker})

    def serving(self, broker: BrokerId) -> Available:
        """Return the brokers that there are when ``broker`` is unfenced."""
        return Available(self.electable | {broker}, self.stopping - {broker})

    def stops(self, broker: BrokerId) -> Available:
        """Return the brokers that there are when ``broker`` begins to shut down."""
        return Available(self.electable - {broker}, self.stopping | {broker})


def available_brokers(image: ClusterImage) -> Available:
    """Return who is there now."""
    unfenced = [broker for broker in image.brokers.values() if not broker.fenced]
    return Available(
        electable=frozenset(b.broker_id for b in unfenced if not b.shutting_down),
        stopping=frozenset(b.broker_id for b in unfenced if b.shutting_down),
    )


class _Election(NamedTuple):
    leader: BrokerId
    in_sync: AbstractSet[BrokerId]
    clean: bool = True


def settled(
    before: PartitionImage,
    wanted: PartitionImage,
    *,
    available: Available,
    rules: TopicRules,
    lost: AbstractSet[BrokerId] = NOBODY,
    unclean: bool = False,
) -> PartitionImage:
    """Return the partition that follows ``before``, as near to ``wanted`` as the rules allow.

    ``wanted`` says who should replicate, be in sync, and lead if it may. Those in ``lost`` hold
    nothing any more. The rest (leader, who is eligible, epochs, whether a reassignment is
    complete) follows, by the rules above. The same object as ``before`` means: no change.
    """
    assert lost.isdisjoint(wanted.in_sync_replicas), (wanted, lost)
    wanted = _reassigned_if_complete(wanted, available, rules)
    holders = {*before.in_sync_replicas, *before.eligible_leader_replicas} - lost
    elected = _elect(wanted, holders, available, unclean=unclean or rules.unclean_elections)
    in_sync = tuple(r for r in wanted.replicas if r in elected.in_sync)
    eligible: tuple[BrokerId, ...] = ()
    if elected.clean and len(in_sync) < wanted.min_insync_needed(rules.min_insync_replicas):
        eligible = tuple(r for r in wanted.replicas if r in holders and r not in elected.in_sync)
    after = replace(
        wanted,
        in_sync_replicas=in_sync,
        eligible_leader_replicas=eligible,
        leader=elected.leader,
        leader_epoch=before.leader_epoch,
        partition_epoch=before.partition_epoch,
    )
    return before if after == before else _dated(before, after)


def after_fencing(
    partition: PartitionImage, broker: BrokerId, *, available: Available, rules: TopicRules
) -> PartitionImage:
    """Return ``partition`` without ``broker`` as leader or, if others are, in sync.

    ``available`` does not have ``broker``. The same object means that nothing changes.
    """
    assert broker not in available.electable, (broker, available)
    if broker not in partition.in_sync_replicas:
        return partition
    in_sync = _without(partition.in_sync_replicas, broker) or partition.in_sync_replicas
    wanted = replace(partition, in_sync_replicas=in_sync)
    return settled(partition, wanted, available=available, rules=rules)


def after_loss(
    partition: PartitionImage, broker: BrokerId, *, available: Available, rules: TopicRules
) -> PartitionImage:
    """Return ``partition`` when what ``broker`` had of it is gone, and ``broker`` is fenced."""
    in_sync = _without(partition.in_sync_replicas, broker)
    if broker not in (*partition.in_sync_replicas, *partition.eligible_leader_replicas):
        return partition
    wanted = replace(partition, in_sync_replicas=in_sync)
    return settled(partition, wanted, available=available, rules=rules, lost={broker})


def after_unclean_restart(
    partition: PartitionImage, broker: BrokerId, *, available: Available, rules: TopicRules
) -> PartitionImage:
    """Return ``partition`` when ``broker``, fenced by now, was killed and comes back."""
    others = {*partition.in_sync_replicas, *partition.eligible_leader_replicas} - {broker}
    if rules.write_caching and others:
        return after_loss(partition, broker, available=available, rules=rules)
    return after_fencing(partition, broker, available=available, rules=rules)


def after_unfencing(
    partition: PartitionImage, *, available: Available, rules: TopicRules
) -> PartitionImage:
    """Return ``partition`` with a leader, if no electable broker leads it and one of them may.

    The same object means that nothing changes.
    """
    if partition.leader in available.electable:
        return partition
    return settled(partition, partition, available=available, rules=rules)


def after_begin_shutdown(
    partition: PartitionImage, broker: BrokerId, *, available: Available, rules: TopicRules
) -> PartitionImage:
    """Return ``partition`` when ``broker`` is about to stop: another leads it, if one may.

    It leaves the in-sync set too, unless too few would be left for ``acks=all``: then writes go
    on with it until it is gone. ``available`` has ``broker`` among those that are stopping.
    """
    if broker not in partition.in_sync_replicas:
        return partition
    moved = settled(partition, partition, available=available, rules=rules)
    rest = _without(moved.in_sync_replicas, broker)
    if moved.leader == broker or len(rest) < moved.min_insync_needed(rules.min_insync_replicas):
        return moved
    wanted = replace(moved, in_sync_replicas=rest)
    return settled(partition, wanted, available=available, rules=rules)


def _elect(
    wanted: PartitionImage,
    holders: AbstractSet[BrokerId],
    available: Available,
    *,
    unclean: bool,
) -> _Election:
    in_sync = frozenset(wanted.in_sync_replicas)
    electable = [r for r in wanted.replicas if r in available.electable]
    if wanted.leader in in_sync and wanted.leader in available.electable:
        return _Election(wanted.leader, in_sync)
    for replica in electable:
        if replica in in_sync:
            return _Election(replica, in_sync)
    for replica in electable:
        if replica in holders:
            return _Election(replica, {replica})
    if wanted.leader in in_sync and wanted.leader in available.stopping:
        return _Election(wanted.leader, in_sync)
    if unclean and electable:
        # One that a reassignment is only bringing has the least of all.
        best = next((r for r in electable if r not in wanted.adding_replicas), electable[0])
        return _Election(best, {best}, clean=False)
    return _Election(NO_BROKER, in_sync)


def _reassigned_if_complete(
    wanted: PartitionImage, available: Available, rules: TopicRules
) -> PartitionImage:
    """Let go those who are to go, once those who were added are in sync, and enough are left.

    Enough are as many in sync as there were among the replicas of before, and as
    ``min.insync.replicas`` asks for, as far as the target has so many replicas.
    """
    if not wanted.adding_replicas and not wanted.removing_replicas:
        return wanted
    target = tuple(r for r in wanted.replicas if r not in wanted.removing_replicas)
    in_sync = tuple(r for r in target if r in wanted.in_sync_replicas)
    before = [r for r in wanted.in_sync_replicas if r not in wanted.adding_replicas]
    needed = min(len(target), max(1, rules.min_insync_replicas, len(before)))
    if not set(wanted.adding_replicas).issubset(in_sync) or len(in_sync) < needed:
        return wanted
    if available.electable.isdisjoint(in_sync):
        return wanted
    return replace(
        wanted,
        replicas=target,
        in_sync_replicas=in_sync,
        adding_replicas=(),
        removing_replicas=(),
    )


def _dated(before: PartitionImage, after: PartitionImage) -> PartitionImage:
    new_reign = after.leader != before.leader or not set(before.replicas) <= set(after.replicas)
    return replace(
        after,
        leader_epoch=LeaderEpoch(before.leader_epoch + new_reign),
        partition_epoch=PartitionEpoch(before.partition_epoch + 1),
    )


def _without(replicas: tuple[BrokerId, ...], broker: BrokerId) -> tuple[BrokerId, ...]:
    return tuple(replica for replica in replicas if replica != broker)
