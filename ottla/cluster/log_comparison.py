"""Where a follower's log and its leader's part, by the epochs that wrote them (KIP-320, KIP-279).

A follower says where its log ends and in which epoch its last record was written. No two leaders
have the same epoch, so if both logs have records of that epoch, they are the same up to the end of
the shorter of the two. The leader looks up where that epoch ended in its own log::

    leader     [0 epoch 3][20 epoch 5         ][60 epoch 6 ..
    follower   [0 epoch 3][20 epoch 5 .. 40)              the same, go on from 40
    follower   [0 epoch 3][20 epoch 5 ............. 70)   epoch 5 ended at 60: cut there
    follower   [0 epoch 3][20 epoch 4 ... 30)             the leader has no epoch 4, and the one
                                                          before it ended at 20: cut there

A leader that has written nothing in its own epoch has no entry for it, and neither for epochs in
which its predecessors wrote what it never got. The latest epoch that it knows then ends where its
log ends, also for a follower whose last epoch is later: everything below is common to both.
"""

from __future__ import annotations

from ottla.model.errors import OffsetOutOfRangeError
from ottla.model.ids import LeaderEpoch, Offset
from ottla.storage.leader_epochs import EpochEnd
from ottla.storage.log import PartitionLog


def divergence(
    log: PartitionLog, *, fetch_offset: Offset, last_fetched_epoch: LeaderEpoch | None
) -> EpochEnd | None:
    """Compare the leader's ``log`` with that of a follower, which ends at ``fetch_offset``.

    ``last_fetched_epoch`` is the epoch of the follower's last record; ``None``: it has none.
    Returns ``None`` if the follower may go on from there. Else the largest epoch of ours that is
    not above the follower's last one, and where it ends; the follower has to cut its log and ask
    again.

    Raises:
        OffsetOutOfRangeError: the follower's log ends before ours begins, or an empty one lies
            beyond our end. It has to begin at our log start.
    """
    start_offset, end_offset = log.log_start_offset, log.log_end_offset
    if fetch_offset < start_offset or (last_fetched_epoch is None and fetch_offset > end_offset):
        raise OffsetOutOfRangeError(
            f"a follower's log of {log.topic_partition} ends at {fetch_offset}, and its leader's "
            f"goes from {start_offset} to {end_offset}; begin at the leader's start"
        )
    if last_fetched_epoch is None:
        return None
    latest = log.leader_epochs.latest
    if latest is None:
        # Nothing is left of what was written here. Below our start nobody compares any more.
        ours = EpochEnd(last_fetched_epoch, end_offset)
    elif last_fetched_epoch > latest.epoch:
        ours = EpochEnd(latest.epoch, end_offset)
    else:
        found = log.leader_epochs.end_offset_for(last_fetched_epoch, end_offset)
        assert found is not None, (last_fetched_epoch, latest)
        ours = found
    if ours.epoch == last_fetched_epoch and fetch_offset <= ours.end_offset:
        return None
    return ours
