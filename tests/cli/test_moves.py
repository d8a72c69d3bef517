"""Moves begin a few at a time, each is followed to its end, and a plan says what it changes."""

from __future__ import annotations

from dataclasses import replace

from ottla.cli.moves import BrokerLoad, Moving, loads, only_of, under_way
from ottla.cli.moves_print import Plan, summary
from ottla.cli.moves_progress import MovesProgress
from ottla.cli.moves_work import interrupted
from ottla.client.admin_values import PartitionDescription, PlannedMove
from ottla.model.ids import TopicPartition
from tests.cli.test_cluster_status import partition


def web(number: int) -> TopicPartition:
    return TopicPartition("web", number)


def move(number: int, before: tuple[int, ...], after: tuple[int, ...]) -> PlannedMove:
    return PlannedMove(topic_partition=web(number), replicas_before=before, replicas=after)


def led(number: int, *replicas: int) -> PartitionDescription:
    return partition(number, leader=replicas[0], replicas=replicas, in_sync=replicas)


def moving_to(number: int, after: tuple[int, ...], going: tuple[int, ...]) -> PartitionDescription:
    """Return a partition whose first new replica is being added, and the others removed."""
    part = partition(number, leader=going[0], replicas=(*after, *going), in_sync=going)
    return replace(part, adding_replicas=after[:1], removing_replicas=going)


def numbers(moves: list[PlannedMove]) -> list[int]:
    return [each.topic_partition.partition for each in moves]


# --- Steps ----------------------------------------------------------------------------


def test_no_broker_receives_more_than_so_many_at_once() -> None:
    picture = {web(n): led(n, n) for n in range(4)}
    moving = Moving([move(n, (n,), (9,)) for n in range(4)], at_once=2)

    assert numbers(moving.step(picture)) == [0, 1]
    assert moving.step(picture) == []


def test_no_broker_sends_more_than_so_many_at_once() -> None:
    picture = {web(n): led(n, 1) for n in range(4)}
    moving = Moving([move(n, (1,), (10 + n,)) for n in range(4)], at_once=3)

    assert numbers(moving.step(picture)) == [0, 1, 2]


def test_moves_of_other_brokers_do_not_wait() -> None:
    picture = {web(0): led(0, 1), web(1): led(1, 1), web(2): led(2, 3)}
    moves = [move(0, (1,), (2,)), move(1, (1,), (2,)), move(2, (3,), (4,))]

    assert numbers(Moving(moves, at_once=1).step(picture)) == [0, 2]


def test_another_order_of_the_same_replicas_never_waits() -> None:
    picture = {web(n): led(n, 1, 2) for n in range(50)}
    moving = Moving([move(n, (1, 2), (2, 1)) for n in range(50)], at_once=1)

    assert len(moving.step(picture)) == 50


def test_next_one_begins_when_one_is_done() -> None:
    picture = {web(0): led(0, 1), web(1): led(1, 1)}
    moving = Moving([move(0, (1,), (2,)), move(1, (1,), (2,))], at_once=1)
    moving.step(picture)

    begun = moving.step(picture | {web(0): led(0, 2)})

    assert (numbers(begun), numbers(moving.done)) == ([1], [0])


def test_it_is_finished_when_all_are_done() -> None:
    moving = Moving([move(0, (1,), (2,))], at_once=1)
    moving.step({web(0): led(0, 1)})
    before = moving.is_finished

    moving.step({web(0): led(0, 2)})

    assert (before, moving.is_finished) == (False, True)


def test_picture_from_before_the_begin_means_nothing() -> None:
    picture = {web(0): led(0, 1)}
    moving = Moving([move(0, (1,), (2,))], at_once=1)
    moving.step(picture)

    moving.step(picture)

    assert numbers(list(moving.begun)) == [0]


def test_move_that_somebody_cancels_is_dropped() -> None:
    moving = Moving([move(0, (1,), (2,))], at_once=1)
    moving.step({web(0): led(0, 1)})
    moving.step({web(0): moving_to(0, (2,), (1,))})

    moving.step({web(0): led(0, 1)})

    assert (numbers(moving.dropped), moving.is_finished) == ([0], True)


def test_deleted_topic_is_dropped_begun_or_not() -> None:
    picture = {web(0): led(0, 1), web(1): led(1, 1)}
    moving = Moving([move(0, (1,), (2,)), move(1, (1,), (2,))], at_once=1)
    moving.step(picture)

    moving.step({})

    assert (numbers(moving.dropped), moving.is_finished) == ([0, 1], True)


def test_refused_move_leaves_room_for_the_next() -> None:
    picture = {web(0): led(0, 1), web(1): led(1, 1)}
    moving = Moving([move(0, (1,), (2,)), move(1, (1,), (2,))], at_once=1)
    moving.step(picture)

    moving.refused(web(0))

    assert numbers(moving.step(picture)) == [1]


def test_moves_begun_by_somebody_else_are_waited_for_and_counted() -> None:
    part = moving_to(0, (2,), (1,))
    picture = {web(0): part, web(1): led(1, 1)}
    begun = under_way(picture)
    moving = Moving([move(1, (1,), (2,))], begun=begun, at_once=1)

    assert begun == [move(0, (1,), (2,))]
    assert moving.step(picture) == []
    assert numbers(moving.step(picture | {web(0): led(0, 2)})) == [1]


# --- What a plan says -----------------------------------------------------------------


def test_only_moves_of_the_brokers_named_are_left() -> None:
    moves = [move(0, (1, 2), (1, 3)), move(1, (1, 2), (4, 2)), move(2, (3, 1), (1, 3))]

    assert numbers(only_of(moves, [3])) == [0]
    assert numbers(only_of(moves, [1])) == [1]


def test_load_is_told_before_and_after() -> None:
    picture = {web(0): led(0, 1, 2), web(1): led(1, 1, 2)}

    told = loads([1, 2, 3], picture, [move(0, (1, 2), (3, 2))])

    assert told == [
        BrokerLoad(1, replicas_before=2, replicas=1, leaders_before=2, leaders=1),
        BrokerLoad(2, replicas_before=2, replicas=2, leaders_before=0, leaders=0),
        BrokerLoad(3, replicas_before=0, replicas=1, leaders_before=0, leaders=1),
    ]


def plan(*moves: PlannedMove, sizes: dict[TopicPartition, int]) -> Plan:
    return Plan(moves=moves, under_way=[], loads=[], sizes=sizes)


def test_sum_counts_each_copy_that_is_made() -> None:
    planned = plan(move(0, (1, 2), (3, 4)), move(1, (1, 2), (2, 1)), sizes={web(0): 1_000})

    assert (
        summary(planned) == "1 partition to copy, 2.0 kB; 1 partition to be led by another broker"
    )


def test_size_that_nobody_knows_is_said_to_be_unknown() -> None:
    assert "of unknown size not counted" in summary(plan(move(0, (1,), (2,)), sizes={}))


def test_interrupted_one_is_told_what_goes_on_and_how() -> None:
    picture = {web(n): led(n, 1) for n in range(3)}
    moving = Moving([move(n, (1,), (2,)) for n in range(3)], at_once=1)
    moving.step(picture)
    moving.step(picture | {web(0): led(0, 2)})

    text = interrupted(moving, "ottla cluster drain 1")

    assert text == (
        "interrupted: 1 of 3 partitions have moved; the cluster finishes web-1 by itself; "
        "1 did not begin\n"
        "'ottla cluster drain 1' goes on, 'ottla cluster rebalance --cancel' takes back what began"
    )


def test_progress_tells_how_much_of_what_is_under_way_is_there() -> None:
    moving = Moving([move(n, (1,), (2,)) for n in range(3)], at_once=2)
    moving.step({web(n): led(n, 1) for n in range(3)})
    progress = MovesProgress(moving, total=3)
    before = progress.text

    progress.copied(1_200_000, of_bytes=3_000_000)

    assert before == "moved 0 of 3 partitions; under way: web-0, web-1"
    assert progress.text == f"{before}, 1.2 MB of 3.0 MB"
