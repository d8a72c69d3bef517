"""Replicas of a partition are apart, and the partitions of a topic are spread evenly."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ottla.controller.placement import place
from ottla.model.errors import InvalidReplicationFactorError
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.model.image import BrokerImage


def broker(number: int, *, rack: str = "", host: str = "", fenced: bool = False) -> BrokerImage:
    return BrokerImage(
        broker_id=BrokerId(number),
        broker_epoch=BrokerEpoch(1),
        host=host or f"host-{number}",
        grpc_port=7092,
        rack=rack,
        incarnation_id=b"",
        fenced=fenced,
    )


def placed(
    brokers: list[BrokerImage],
    partitions: int,
    replication_factor: int,
    *,
    start: int = 0,
    rotation: int = 0,
) -> list[tuple[BrokerId, ...]]:
    return place(
        brokers,
        partitions=range(start, partitions),
        replication_factor=replication_factor,
        rotation=rotation,
    )


def in_racks(*racks: int) -> list[BrokerImage]:
    """Brokers 1, 2, ... with that many in each rack, each on a host of its own."""
    names = [f"rack-{rack}" for rack, count in enumerate(racks) for _ in range(count)]
    return [broker(number, rack=rack) for number, rack in enumerate(names, start=1)]


clusters = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["x", "y", "z"]), st.booleans()
    ),
    min_size=1,
    max_size=10,
).map(
    lambda rows: [
        broker(number, rack=rack, host=host, fenced=fenced)
        for number, (rack, host, fenced) in enumerate(rows)
    ]
)


def test_followers_come_next_on_the_ring_and_one_step_further_each_round() -> None:
    brokers = [broker(number) for number in (1, 2, 3)]

    assert placed(brokers, 6, 2) == [(1, 2), (2, 3), (3, 1), (1, 3), (2, 1), (3, 2)]


def test_ring_alternates_between_racks() -> None:
    assert placed(in_racks(3, 3, 3), 3, 3) == [(1, 4, 7), (4, 7, 2), (7, 2, 5)]


def test_rotation_says_where_on_the_ring_the_first_partition_starts() -> None:
    brokers = [broker(number) for number in (1, 2, 3)]

    starts = [placed(brokers, 1, 1, rotation=rotation)[0][0] for rotation in range(4)]

    assert starts == [1, 2, 3, 1]


def test_partitions_added_later_continue_the_pattern() -> None:
    brokers = in_racks(2, 3)

    together = placed(brokers, 12, 2, rotation=5)

    assert placed(brokers, 12, 2, start=7, rotation=5) == together[7:]


def test_order_in_which_brokers_are_given_does_not_matter() -> None:
    brokers = in_racks(2, 3, 1)

    assert placed(brokers[::-1], 9, 3) == placed(brokers, 9, 3)


def test_more_replicas_than_racks_are_spread_evenly_over_the_racks() -> None:
    for replicas in placed(in_racks(4, 4), 20, 4):
        assert sum(replica <= 4 for replica in replicas) == 2


def test_rack_that_is_exhausted_does_not_stop_the_others() -> None:
    for replicas in placed(in_racks(1, 4), 20, 4):
        assert 1 in replicas
        assert len(set(replicas)) == 4


def test_machine_is_a_rack_where_none_is_named() -> None:
    brokers = [broker(number, host=f"machine-{number % 2}") for number in range(6)]

    for first, second in placed(brokers, 30, 2):
        assert first % 2 != second % 2


def test_replicas_in_one_rack_are_on_different_machines() -> None:
    brokers = [broker(number, rack="r", host=f"machine-{number % 3}") for number in range(9)]

    for replicas in placed(brokers, 30, 3):
        assert {replica % 3 for replica in replicas} == {0, 1, 2}


def test_fenced_broker_leads_nothing() -> None:
    brokers = [broker(1, fenced=True), broker(2), broker(3)]

    assert Counter(first for first, *_ in placed(brokers, 10, 2)) == {2: 5, 3: 5}


def test_fenced_broker_replicates_only_if_the_others_do_not_suffice() -> None:
    brokers = [broker(1, fenced=True), broker(2), broker(3)]

    assert all(1 not in replicas for replicas in placed(brokers, 10, 2))
    assert all(1 in replicas for replicas in placed(brokers, 10, 3))


def test_another_rack_is_worth_more_than_a_broker_that_serves() -> None:
    brokers = [broker(1, rack="a"), broker(2, rack="a"), broker(3, rack="b", fenced=True)]

    assert placed(brokers, 2, 2) == [(1, 3), (2, 3)]


def test_neighbours_of_a_broker_change_from_round_to_round() -> None:
    brokers = [broker(number) for number in range(5)]

    followers = {replicas[1] for replicas in placed(brokers, 20, 2) if replicas[0] == 0}

    assert followers == {1, 2, 3, 4}


def test_equal_racks_get_equal_shares() -> None:
    shares = Counter(
        replica for replicas in placed(in_racks(3, 3, 3), 90, 3) for replica in replicas
    )

    assert max(shares.values()) - min(shares.values()) <= 1


@pytest.mark.parametrize("replication_factor", [0, -1])
def test_replication_factor_below_one_is_refused(replication_factor: int) -> None:
    with pytest.raises(InvalidReplicationFactorError, match="it is at least 1"):
        placed([broker(1)], 1, replication_factor)


def test_more_replicas_than_brokers_are_refused() -> None:
    with pytest.raises(InvalidReplicationFactorError, match=r"of 2 needs .* and 1 are registered"):
        placed([broker(1)], 1, 2)


def test_cluster_without_a_broker_that_serves_is_refused() -> None:
    with pytest.raises(InvalidReplicationFactorError, match="all 1 registered brokers are fenced"):
        placed([broker(1, fenced=True)], 1, 1)


@given(clusters, st.integers(1, 10), st.integers(0, 100), st.integers(0, 2**128))
def test_every_goal_holds_in_every_cluster(
    brokers: list[BrokerImage], replication_factor: int, partitions: int, rotation: int
) -> None:
    by_id = {b.broker_id: b for b in brokers}
    serving = [b for b in brokers if not b.fenced]
    assume(serving)
    replication_factor = min(replication_factor, len(brokers))
    all_racks = {b.rack or b.host for b in brokers}

    assignment = placed(brokers, partitions, replication_factor, rotation=rotation)

    assert len(assignment) == partitions
    for replicas in assignment:
        assert len(set(replicas)) == replication_factor
        assert not by_id[replicas[0]].fenced
        racks = {by_id[r].rack or by_id[r].host for r in replicas}
        assert len(racks) == min(replication_factor, len(all_racks))
    leaders = Counter({b.broker_id: 0 for b in serving})
    leaders.update(replicas[0] for replicas in assignment)
    assert max(leaders.values()) - min(leaders.values()) <= 1
