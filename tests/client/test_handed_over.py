"""A record counts as processed when the application comes back for the next, in any thread."""

from __future__ import annotations

import asyncio

from ottla.client.consumer_record import ConsumerRecord
from ottla.client.handed_over import HandedOver, HandedToThread
from ottla.model.ids import TopicPartition
from ottla.record.batch import TimestampType
from tests.client.waiting import until

P0, P1 = TopicPartition("web", 0), TopicPartition("web", 1)


def record(partition: TopicPartition, offset: int) -> ConsumerRecord:
    return ConsumerRecord(*partition, offset, 0, TimestampType.CREATE_TIME, None, b"", ())


def records(partition: TopicPartition, *offsets: int) -> list[ConsumerRecord]:
    return [record(partition, offset) for offset in offsets]


async def test_record_in_hand_is_unsettled_until_the_application_comes_back() -> None:
    handed = HandedOver()
    handed.one(record(P0, 7))
    assert handed.unsettled() == {P0: 7}

    handed.asked()
    assert handed.unsettled() == {}


async def test_coming_for_the_next_record_settles_all_before_it() -> None:
    handed = HandedOver()
    handed.many({P0: records(P0, 3, 4), P1: records(P1, 9)})
    handed.next(record(P0, 5))

    assert handed.unsettled() == {P0: 5}


async def test_first_record_of_each_partition_is_what_may_not_be_processed() -> None:
    handed = HandedOver()
    handed.many({P0: records(P0, 3, 4), P1: records(P1, 9)})

    assert handed.unsettled() == {P0: 3, P1: 9}


async def test_application_that_waits_for_records_is_not_busy() -> None:
    handed = HandedOver()
    busy = [handed.busy_since_s is not None]
    handed.one(record(P0, 0))
    busy.append(handed.busy_since_s is not None)
    handed.asked()
    busy.append(handed.busy_since_s is not None)

    assert busy == [False, True, False]


async def test_settling_waits_for_one_partition_and_not_for_others() -> None:
    handed = HandedOver()
    handed.one(record(P1, 0))
    await asyncio.wait_for(handed.settle([P0]), 1)

    settling = asyncio.create_task(handed.settle([P1]))
    await asyncio.sleep(0)
    assert not settling.done()
    handed.next(record(P0, 0))
    await asyncio.wait_for(settling, 1)


async def test_application_that_came_back_already_is_not_waited_for() -> None:
    handed = HandedOver()
    handed.one(record(P0, 0))
    handed.asked()

    await asyncio.wait_for(handed.settle_all(), 1)


async def test_what_was_in_hand_when_partitions_were_lost_is_lost_until_it_is_put_away() -> None:
    handed = HandedOver()
    handed.lost()
    lost = [handed.has_lost]
    handed.one(record(P0, 0))
    handed.lost()
    lost.append(handed.has_lost)
    handed.next(record(P0, 1))
    lost.append(handed.has_lost)

    assert lost == [False, True, False]


# --- In another thread ----------------------------------------------------------------------------


def test_record_that_waits_is_unsettled_but_not_in_hand() -> None:
    handed = HandedToThread()
    handed.put({P0: records(P0, 3, 4)})

    assert handed.unsettled() == handed.waiting() == {P0: 3}
    assert handed.busy_since_s is None


def test_record_in_hand_comes_before_those_that_wait() -> None:
    handed = HandedToThread()
    handed.put({P0: records(P0, 3, 4)})
    handed.take_one()

    assert handed.unsettled() == {P0: 3}
    assert handed.waiting() == {P0: 4}
    assert handed.busy_since_s is not None


def test_dropping_what_waits_tells_where_it_began() -> None:
    handed = HandedToThread()
    handed.put({P0: records(P0, 3, 4), P1: records(P1, 1)})

    assert handed.drop([P0, TopicPartition("web", 9)]) == {P0: 3}
    assert handed.waiting() == {P1: 1}


def test_paused_partition_waits_and_others_do_not() -> None:
    handed = HandedToThread()
    handed.put({P0: records(P0, 3), P1: records(P1, 1)})
    handed.pause([P0])
    taken = handed.take(None)
    assert handed.take_one() is None
    handed.resume([P0])

    assert taken == {P1: records(P1, 1)}
    assert handed.take_one() == record(P0, 3)


def test_partition_that_is_gone_is_not_paused_when_it_comes_back() -> None:
    handed = HandedToThread()
    handed.pause([P0])
    handed.gone([P0])
    handed.put({P0: records(P0, 3)})

    assert handed.take_one() == record(P0, 3)


def test_no_more_records_and_partitions_are_taken_than_asked_for() -> None:
    handed = HandedToThread()
    handed.put({P0: records(P0, 0, 1, 2), P1: records(P1, 0)})

    assert handed.take(2) == {P0: records(P0, 0, 1)}
    assert handed.take(None, partitions_max=1) == {P0: records(P0, 2)}
    assert handed.take(None) == {P1: records(P1, 0)}


def test_coming_for_nothing_settles_too() -> None:
    handed = HandedToThread()
    handed.put({P0: records(P0, 0)})
    handed.take_one()
    handed.lost()
    lost = [handed.has_lost]
    assert handed.take_one() is None
    lost.append(handed.has_lost)

    assert lost == [True, False]
    assert handed.unsettled() == {}


async def test_partition_settles_when_the_thread_takes_something_else() -> None:
    handed = HandedToThread()
    handed.put({P0: records(P0, 0)})
    await asyncio.to_thread(handed.take_one)
    settling = asyncio.create_task(handed.settle([P0]))
    await asyncio.sleep(0)
    assert not settling.done()

    handed.put({P1: records(P1, 0)})
    await asyncio.to_thread(handed.take_one)
    await until(settling.done)
