"""A follower is let in if it is who it says, and a copy begins where both logs agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ottla.model.errors import (
    BrokerNotAvailableError,
    ClusterAuthorizationError,
    FencedLeaderEpochError,
    InconsistentClusterIdError,
    InvalidRequestError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    StaleBrokerEpochError,
    UnknownTopicIdError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, Offset
from ottla.record.batch import split_batches
from ottla.v1.replication_pb2 import FollowRequest
from tests.cluster.following import THIRD, Leading, append, turns
from tests.cluster.world import ME, OTHER, broker

# --- Who is let in ---


async def test_follower_of_another_cluster_is_refused(leading: Leading) -> None:
    follower = leading.follower(cluster_id="d" * 22)

    assert isinstance(await follower.ended(), InconsistentClusterIdError)


async def test_earlier_life_of_a_broker_is_refused(leading: Leading) -> None:
    follower = leading.follower(broker_epoch=0)

    assert isinstance(await follower.ended(), StaleBrokerEpochError)


async def test_broker_that_has_just_registered_is_waited_for(leading: Leading) -> None:
    follower = leading.follower(broker_epoch=2)
    await turns()
    newer = replace(broker(OTHER), broker_epoch=BrokerEpoch(2))
    await leading.publish(brokers={**leading.image.brokers, OTHER: newer})
    append(leading)

    follower.begin(0)

    await follower.has(1)


async def test_broker_that_nobody_knows_is_to_try_again(leading: Leading) -> None:
    follower = leading.follower(9)

    assert isinstance(await follower.ended(), BrokerNotAvailableError)


async def test_caller_without_the_brokers_certificate_is_refused(leading: Leading) -> None:
    follower = leading.follower()

    def refuse(claimed: BrokerId) -> None:
        raise ClusterAuthorizationError(f"not broker {claimed}")

    follower.refused_as = refuse

    assert isinstance(await follower.ended(), ClusterAuthorizationError)


async def test_first_message_says_who_follows(leading: Leading) -> None:
    async def said() -> AsyncIterator[FollowRequest]:
        yield FollowRequest(alive=True)

    with pytest.raises(InvalidRequestError, match="has no identity"):
        await leading.streams.serve(said(), write=_nobody, check_caller=lambda _: None)


async def _nobody(response: object) -> None:
    raise AssertionError(response)


async def test_call_without_a_message_ends_by_itself(leading: Leading) -> None:
    async def said() -> AsyncIterator[FollowRequest]:
        return
        yield

    await leading.streams.serve(said(), write=_nobody, check_caller=lambda _: None)


async def test_second_stream_of_a_broker_ends_its_first(leading: Leading) -> None:
    first = leading.follower()
    first.begin(0)
    await first.heard(lambda: first.entries)

    second = leading.follower()
    second.begin(0)
    append(leading)

    assert isinstance(await first.ended(), BrokerNotAvailableError)
    await second.has(1)


async def test_stream_ends_when_its_broker_has_registered_again(leading: Leading) -> None:
    follower = leading.follower()
    follower.begin(0)
    await follower.heard(lambda: follower.entries)

    newer = replace(broker(OTHER), broker_epoch=BrokerEpoch(2))
    await leading.publish(brokers={**leading.image.brokers, OTHER: newer})

    assert isinstance(await follower.ended(), StaleBrokerEpochError)


async def test_closing_ends_all_streams_and_lets_none_in(leading: Leading) -> None:
    follower = leading.follower()
    follower.begin(0)
    await follower.heard(lambda: follower.entries)

    leading.streams.close()

    assert isinstance(await follower.ended(), BrokerNotAvailableError)
    assert isinstance(await leading.follower().ended(), BrokerNotAvailableError)


# --- Where a copy begins ---


async def test_copy_goes_on_where_the_followers_log_ends(leading: Leading) -> None:
    for value in (b"a", b"b", b"c"):
        append(leading, value)
    follower = leading.follower()

    follower.begin(0, fetch_offset=2, last_fetched_epoch=0)

    await follower.has(3)
    assert split_batches(follower.of()[0].records)[0].header.base_offset == 2


async def test_follower_of_an_earlier_epoch_is_fenced(leading: Leading) -> None:
    await leading.change_partition("orders", 0, leader=OTHER)
    await leading.change_partition("orders", 0, leader=ME)
    follower = leading.follower()

    follower.begin(0, leader_epoch=1)

    assert isinstance(await follower.refused(), FencedLeaderEpochError)


async def test_follower_of_what_another_leads_is_refused_at_once(leading: Leading) -> None:
    await leading.change_partition("orders", 0, leader=OTHER)
    follower = leading.follower(THIRD)

    follower.begin(0, leader_epoch=1)

    assert isinstance(await follower.refused(), NotLeaderOrFollowerError)


async def test_follower_that_has_heard_first_of_the_new_leader_waits_for_it(
    leading: Leading,
) -> None:
    await leading.change_partition("orders", 0, leader=OTHER)
    follower = leading.follower(THIRD)
    follower.begin(0, leader_epoch=2)
    await turns()

    await leading.change_partition("orders", 0, leader=ME)

    await follower.heard(lambda: follower.entries)
    assert not follower.entries[0].HasField("error")


async def test_follower_of_an_unknown_topic_is_refused_after_a_while(leading: Leading) -> None:
    follower = leading.follower()

    follower.begin(0, topic_id=bytes(16))

    assert isinstance(await follower.refused(), UnknownTopicIdError)


async def test_logs_that_differ_are_not_copied(leading: Leading) -> None:
    append(leading, b"a", b"b")
    follower = leading.follower()

    follower.begin(0, fetch_offset=5, last_fetched_epoch=0)

    await follower.heard(lambda: follower.entries)
    (answer,) = follower.entries
    assert (answer.diverging.epoch, answer.diverging.end_offset) == (0, 2)
    assert not answer.records
    assert leading.partition("orders").leader.statistics().follower_end_offsets[OTHER] is None


async def test_follower_below_the_log_start_is_told_where_it_is(leading: Leading) -> None:
    for _ in range(3):
        append(leading)
    leading.partition("orders").delete_records_before(Offset(2))
    follower = leading.follower()

    follower.begin(0)

    assert isinstance(await follower.refused(), OffsetOutOfRangeError)
    assert follower.entries[0].log_start_offset == 2


async def test_what_a_follower_has_on_disk_counts_from_its_first_word_on(
    leading: Leading,
) -> None:
    append(leading, b"a", b"b")
    follower = leading.follower()

    follower.begin(0, fetch_offset=2, last_fetched_epoch=0, durable_end_offset=1)

    await follower.heard(lambda: follower.entries)
    assert leading.partition("orders").leader.statistics().follower_end_offsets[OTHER] == 1


async def test_with_write_caching_the_end_of_the_followers_log_counts(leading: Leading) -> None:
    await leading.put_orders(write_caching="true")
    append(leading, b"a", b"b")
    follower = leading.follower()

    follower.begin(0, fetch_offset=2, last_fetched_epoch=0, durable_end_offset=1)

    await follower.heard(lambda: follower.entries)
    assert leading.partition("orders").leader.statistics().follower_end_offsets[OTHER] == 2


@pytest.mark.parametrize("nonsense", [{"topic_id": b"x"}, {"durable_end_offset": -1}])
async def test_nonsense_is_refused(leading: Leading, nonsense: dict[str, object]) -> None:
    follower = leading.follower()

    follower.begin(0, **nonsense)

    with pytest.raises(InvalidRequestError):
        raise await follower.refused() if "topic_id" not in nonsense else await follower.ended()
