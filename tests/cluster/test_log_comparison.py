"""A follower is told to cut what its leader does not have, and never more than that."""

from __future__ import annotations

import pytest

from ottla.cluster.log_comparison import divergence
from ottla.model.errors import OffsetOutOfRangeError
from ottla.model.ids import LeaderEpoch, Offset
from ottla.record.batch import split_batches
from ottla.storage.leader_epochs import EpochEnd
from ottla.storage.log import PartitionLog
from tests.cluster.world import START_MS, World, batch


def log_of(world: World, *epochs: tuple[int, int]) -> PartitionLog:
    """A log with so many records of each epoch."""
    log = world.partition().log
    for epoch, count in epochs:
        (one,) = split_batches(batch(*[b"v"] * count))
        log.append([one], leader_epoch=LeaderEpoch(epoch), now_ms=START_MS)
    return log


def compared(log: PartitionLog, at: int, epoch: int | None) -> EpochEnd | None:
    return divergence(
        log,
        fetch_offset=Offset(at),
        last_fetched_epoch=None if epoch is None else LeaderEpoch(epoch),
    )


def end(epoch: int, offset: int) -> EpochEnd:
    return EpochEnd(LeaderEpoch(epoch), Offset(offset))


@pytest.mark.parametrize(("at", "epoch"), [(0, None), (3, 3), (5, 3), (6, 5), (9, 5)])
async def test_logs_that_agree_go_on(world: World, at: int, epoch: int | None) -> None:
    assert compared(log_of(world, (3, 5), (5, 4)), at, epoch) is None


async def test_records_past_the_end_of_a_common_epoch_are_cut(world: World) -> None:
    assert compared(log_of(world, (3, 5), (5, 4)), 7, 3) == end(3, 5)


async def test_records_past_the_leaders_end_are_cut(world: World) -> None:
    assert compared(log_of(world, (3, 5)), 8, 3) == end(3, 5)


async def test_epoch_that_the_leader_never_saw_is_cut_with_what_follows_its_elder(
    world: World,
) -> None:
    assert compared(log_of(world, (3, 5), (5, 4)), 7, 4) == end(3, 5)


async def test_even_a_shorter_log_is_compared_by_its_epoch(world: World) -> None:
    """Offset 4 of epoch 4 is not offset 4 of epoch 3."""
    assert compared(log_of(world, (3, 5), (5, 4)), 5, 4) == end(3, 5)


async def test_leader_that_has_written_nothing_yet_keeps_all_that_is_common(world: World) -> None:
    """A later epoch than all of ours: everything up to our end is common, and nothing below it."""
    assert compared(log_of(world, (3, 5)), 9, 6) == end(3, 5)


async def test_follower_of_an_empty_leader_cuts_everything(world: World) -> None:
    assert compared(log_of(world), 4, 2) == end(2, 0)


async def test_follower_below_the_leaders_start_has_to_begin_there(world: World) -> None:
    log = log_of(world, (3, 5), (5, 4))
    log.delete_records_before(Offset(5))

    with pytest.raises(OffsetOutOfRangeError, match="goes from 5 to 9"):
        compared(log, 4, 3)


async def test_empty_follower_beyond_the_leaders_end_has_to_begin_at_its_start(
    world: World,
) -> None:
    with pytest.raises(OffsetOutOfRangeError, match="goes from 0 to 5"):
        compared(log_of(world, (3, 5)), 8, None)


async def test_follower_whose_epoch_was_deleted_at_the_leader_cuts_down_to_its_start(
    world: World,
) -> None:
    log = log_of(world, (3, 5), (5, 4))
    log.delete_records_before(Offset(5))

    assert compared(log, 5, 3) is None
    assert compared(log, 7, 3) == end(3, 5)


async def test_follower_keeps_up_with_a_leader_of_whom_nothing_is_left(world: World) -> None:
    log = log_of(world, (3, 5))
    log.delete_records_before(Offset(5))

    assert compared(log, 5, 3) is None
