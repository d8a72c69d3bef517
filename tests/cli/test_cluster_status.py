"""The status of a cluster says who does what and what is in trouble, to people and to programs."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from uuid import UUID

import pytest

from ottla.cli.cluster_print import LISTED_MAX, print_status, print_status_json
from ottla.cli.cluster_status import ClusterStatus, cluster_status
from ottla.client.addresses import Address
from ottla.client.admin_values import (
    BrokerAddress,
    ClusterDescription,
    PartitionDescription,
    QuorumDescription,
    QuorumNode,
    TopicDescription,
)

CaptureFixture = pytest.CaptureFixture[str]


def broker(number: int, **more: bool) -> BrokerAddress:
    return BrokerAddress(
        number, Address("b", 7092 + number), rack="", **{"is_fenced": False, **more}
    )


def partition(
    number: int,
    *,
    leader: int = 0,
    in_sync: Sequence[int] = (0, 1, 2),
    replicas: Sequence[int] = (0, 1, 2),
    adding: Sequence[int] = (),
) -> PartitionDescription:
    return PartitionDescription(
        partition=number,
        leader=leader,
        leader_epoch=1,
        replicas=tuple(replicas),
        in_sync_replicas=tuple(in_sync),
        eligible_leader_replicas=(),
        log_start_offset=0,
        high_watermark=0,
        size_bytes=0,
        adding_replicas=tuple(adding),
    )


def node(
    number: int, *, voter: bool = True, linked: bool = True, wiped: bool = False
) -> QuorumNode:
    return QuorumNode(
        broker_id=number,
        is_voter=voter,
        is_connected=linked,
        offered_directory_id=b"d" * 16 if wiped else None,
    )


def status(
    *partitions: PartitionDescription,
    brokers: Sequence[BrokerAddress] | None = None,
    nodes: Sequence[QuorumNode] | None = None,
    controller: int = 1,
    offline: int = 0,
) -> ClusterStatus:
    return cluster_status(
        ClusterDescription(
            cluster_id="c",
            controller_id=controller,
            brokers=tuple([broker(i) for i in range(3)] if brokers is None else brokers),
            topics=1,
            partitions=len(partitions),
            under_replicated_partitions=0,
            offline_partitions=offline,
            metadata_offset=9,
        ),
        [TopicDescription("web", UUID(int=1), is_internal=False, partitions=partitions)],
        QuorumDescription(
            leader_id=controller,
            term=4,
            applied_index=9,
            nodes=tuple([node(i) for i in range(3)] if nodes is None else nodes),
        ),
    )


# --- What is found out ----------------------------------------------------------------


def test_leaders_and_replicas_are_counted() -> None:
    found = status(partition(0), partition(1, leader=1), partition(2, replicas=(0, 1)))

    assert [(each.leaders, each.replicas) for each in found.brokers] == [(2, 3), (1, 3), (0, 2)]


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ({}, "serving"),
        ({"is_draining": True}, "draining"),
        ({"is_draining": True, "is_shutting_down": True}, "stopping"),
        ({"is_fenced": True, "is_shutting_down": True}, "fenced"),
    ],
)
def test_state_of_a_broker_is_what_hinders_it_most(flags: dict[str, bool], state: str) -> None:
    assert status(brokers=[broker(0, **flags)]).brokers[0].state == state


def test_part_in_the_quorum_is_told() -> None:
    found = status(
        brokers=[broker(i) for i in range(4)],
        nodes=[node(0, linked=False), node(1), node(2, linked=False, wiped=True)],
    )

    assert [each.metadata for each in found.brokers] == [
        "voter, not linked",
        "leader",
        "refused: lost its data",
        "observer",
    ]
    assert (found.quorum.linked, found.quorum.wiped) == ((1,), (2,))


def test_voter_that_never_registered_is_not_forgotten() -> None:
    found = status(brokers=[broker(0), broker(1)])

    assert [(each.broker_id, each.state) for each in found.brokers][2] == (2, "unknown")


def test_partition_without_a_leader_is_offline_and_nothing_else() -> None:
    found = status(partition(0, leader=-1, in_sync=()), partition(1))

    assert [each.name for each in found.offline] == ["web-0"]
    assert found.under_replicated == ()
    assert not found.is_available


def test_partition_that_lacks_a_copy_is_under_replicated_and_available() -> None:
    found = status(partition(0, in_sync=(0, 2)), partition(1))

    assert [each.name for each in found.under_replicated] == ["web-0"]
    assert found.is_available


def test_replica_that_is_on_its_way_is_not_missing() -> None:
    found = status(partition(0, replicas=(0, 1, 2, 3), adding=(3,), in_sync=(0, 1, 2)))

    assert found.under_replicated == ()
    assert found.moving == 1


def test_cluster_without_a_controller_is_not_available() -> None:
    assert not status(partition(0), controller=-1).is_available


def test_broker_that_reaches_no_majority_speaks_of_no_available_cluster() -> None:
    assert not status(
        partition(0), nodes=[node(0), node(1, linked=False), node(2, linked=False)]
    ).is_available


def test_loss_of_one_voter_is_survived() -> None:
    assert status(partition(0), nodes=[node(0), node(1), node(2, linked=False)]).is_available


def test_log_that_its_leader_cannot_open_is_counted() -> None:
    found = status(partition(0), offline=1)

    assert (found.offline_partitions, found.is_available) == (1, False)


# --- What is printed ------------------------------------------------------------------


def test_lines_of_a_pipe_begin_with_their_kind(capsys: CaptureFixture) -> None:
    print_status(status(partition(0, in_sync=(0, 1)), partition(1, leader=-1, in_sync=())))

    assert capsys.readouterr().out == (
        "cluster\tc\t1\t1\t2\t1\t1\t0\n"
        "quorum\t1\t4\t0,1,2\t0,1,2\n"
        "broker\t0\tb:7092\t\tserving\t1\t2\tvoter\n"
        "broker\t1\tb:7093\t\tserving\t0\t2\tleader\n"
        "broker\t2\tb:7094\t\tserving\t0\t2\tvoter\n"
        "offline\tweb-1\tnone\t0,1,2\t\n"
        "under-replicated\tweb-0\t0\t0,1,2\t0,1\n"
    )


def test_programs_get_a_document(capsys: CaptureFixture) -> None:
    print_status_json(status(partition(0, in_sync=(0, 1))))

    document = json.loads(capsys.readouterr().out)
    assert document["quorum"]["leader_id"] == 1
    assert document["brokers"][2]["state"] == "serving"
    assert document["under_replicated"] == [
        {
            "topic": "web",
            "partition": 0,
            "leader": 0,
            "replicas": [0, 1, 2],
            "in_sync_replicas": [0, 1],
        }
    ]


class Terminal(io.StringIO):
    """What a person sees."""

    def isatty(self) -> bool:
        return True


def seen(found: ClusterStatus) -> str:
    with redirect_stdout(Terminal()) as terminal:
        print_status(found)
    return terminal.getvalue()


def test_person_sees_who_leads_and_that_all_is_well() -> None:
    text = seen(status(partition(0), partition(1)))

    assert "quorum      broker 1 leads, term 4, 3 of 3 voters linked\n" in text
    assert "partitions  2, all well\n" in text
    assert "b:7093" in text


def test_person_is_spared_the_rest_of_a_long_list() -> None:
    text = seen(status(*(partition(number, in_sync=(0,)) for number in range(LISTED_MAX + 5))))

    assert "25, 25 under-replicated" in text
    assert f"web-{LISTED_MAX - 1} " in text
    assert f"web-{LISTED_MAX} " not in text
    assert "and 5 more" in text
