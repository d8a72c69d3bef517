"""Nodes of the quorum that belong together find each other, and others are told why not."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest

from ottla.cluster.grpc.channels import BrokerChannels
from ottla.cluster.grpc.quorum_calls import dial_quorum
from ottla.cluster.quorum_handshake import Hello
from ottla.cluster.quorum_link import Accepted, Frame, Frames, Refusal
from ottla.controller.raft.messages import SnapshotChunk
from ottla.model.errors import (
    BrokerNotAvailableError,
    InconsistentClusterIdError,
    InconsistentVoterSetError,
    InvalidRequestError,
    OttlaError,
)
from ottla.model.ids import BrokerId
from ottla.model.limits import MIB
from ottla.v1 import quorum_pb2
from tests.client.waiting import until
from tests.cluster.quorum_nodes import Quorum, a_message, an_id

VOTER_0, VOTER_1, VOTER_2 = map(BrokerId, range(3))
OBSERVER = BrokerId(3)
WIPED = an_id(99)


@pytest.fixture
async def quorum() -> AsyncIterator[Quorum]:
    """Three voters and an observer, none of which is started."""
    made = Quorum(voters=3, observers=1)
    yield made
    await made.stop()


@pytest.fixture
async def channels() -> AsyncIterator[BrokerChannels]:
    """Of somebody who calls by hand."""
    made = BrokerChannels()
    yield made
    await made.close()


def linked(quorum: Quorum, *node_ids: int) -> bool:
    """Whether these have links with each other."""
    return all(
        BrokerId(peer) in quorum[node].links.present
        for node in node_ids
        for peer in node_ids
        if peer != node
    )


def hello(quorum: Quorum, node_id: BrokerId, *, to: BrokerId) -> Hello:
    """Return what a node would say."""
    return Hello(
        node_id=node_id,
        peer_id=to,
        cluster_id="",
        voters=frozenset(quorum.voters),
        directory_id=an_id(node_id + 1),
        incarnation_id=an_id(7),
    )


async def call(quorum: Quorum, channels: BrokerChannels, node_id: BrokerId) -> Frames:
    return await dial_quorum(channels, quorum.addresses[node_id])


async def answer_to(frames: Frames, *said: Frame) -> Frame | None:
    """Say something on a new call; return what comes after the other's Hello."""
    for frame in said:
        await frames.write(frame)
    assert isinstance(await frames.read(), Hello)
    return await frames.read()


async def refusal_of(frames: Frames, said: Hello) -> OttlaError:
    answer = await answer_to(frames, said)
    assert isinstance(answer, Refusal), answer
    return answer.error


# --- Links ----------------------------------------------------------------------------------


async def test_voters_find_each_other_whoever_starts_first(quorum: Quorum) -> None:
    for node_id in (2, 0, 1):
        await quorum.listen(node_id)

    await until(lambda: linked(quorum, 0, 1, 2))


async def test_observer_finds_every_voter(quorum: Quorum) -> None:
    await quorum.listen(0, 1, 2, 3)

    await until(lambda: quorum[3].links.present == {VOTER_0, VOTER_1, VOTER_2})


async def test_messages_arrive_in_order_in_both_directions(quorum: Quorum) -> None:
    zero, one = await quorum.listen(0, 1)
    await until(lambda: linked(quorum, 0, 1))

    for number in range(500):
        quorum[0].links.send(VOTER_1, a_message(number))
        quorum[1].links.send(VOTER_0, a_message(number))

    await until(lambda: len(zero.messages) == len(one.messages) == 500)
    for listening in (zero, one):
        assert [message.next_index for message in listening.appends()] == list(range(500))


async def test_message_for_somebody_without_a_link_is_dropped(quorum: Quorum) -> None:
    _, two = await quorum.listen(1, 2)
    await until(lambda: linked(quorum, 1, 2))

    quorum[1].links.send(VOTER_0, a_message(1))
    quorum[1].links.send(VOTER_2, a_message(2))

    await until(lambda: two.messages)
    assert [message.next_index for message in two.appends()] == [2]


async def test_link_that_ends_is_made_again_with_a_higher_number(quorum: Quorum) -> None:
    zero, _ = await quorum.listen(0, 1)
    await until(lambda: linked(quorum, 0, 1))
    await quorum.replace(1)
    await until(lambda: not quorum[0].links.present)

    await quorum.listen(1)
    await until(lambda: linked(quorum, 0, 1))

    first, second = zero.links_with(1)
    assert second > first
    assert zero.told == [
        ("connected", VOTER_1, first),
        ("disconnected", VOTER_1, first),
        ("connected", VOTER_1, second),
    ]


async def test_changes_of_who_is_linked_are_told(quorum: Quorum) -> None:
    await quorum.listen(0, 1)
    await until(lambda: linked(quorum, 0, 1))
    await quorum.replace(1)
    await until(lambda: not quorum[0].links.present)

    assert quorum[0].presences == [{VOTER_1}, frozenset()]


async def test_new_call_of_a_peer_replaces_its_link(
    quorum: Quorum, channels: BrokerChannels
) -> None:
    [zero] = await quorum.listen(0)
    said = hello(quorum, VOTER_1, to=VOTER_0)
    first, second = [await call(quorum, channels, VOTER_0) for _ in range(2)]
    assert await answer_to(first, said, Accepted()) == Accepted()
    assert await answer_to(second, said, Accepted()) == Accepted()

    with pytest.raises(BrokerNotAvailableError, match="has made a new link"):
        await first.read()

    await second.write(a_message(1))
    await until(lambda: zero.messages)
    assert quorum[0].links.present == {VOTER_1}
    assert quorum[0].presences == [{VOTER_1}]
    assert [link for _, link, _ in zero.messages] == zero.links_with(1)[-1:]


async def test_storm_of_calls_leaves_one_link_a_peer(
    quorum: Quorum, channels: BrokerChannels
) -> None:
    [zero] = await quorum.listen(0)
    for _ in range(10):
        for peer in (VOTER_1, VOTER_2):
            frames = await call(quorum, channels, VOTER_0)
            await answer_to(frames, hello(quorum, peer, to=VOTER_0), Accepted())

    await until(lambda: len(zero.links_with(1)) == len(zero.links_with(2)) == 10)
    ended = [link for what, _, link in zero.told if what == "disconnected"]
    await until(lambda: len([what for what, _, _ in zero.told if what == "disconnected"]) == 18)
    assert zero.links_with(1) == sorted(zero.links_with(1))
    assert len(ended) == len(set(ended))
    assert quorum[0].links.present == {VOTER_1, VOTER_2}


async def test_node_that_closes_is_missed_at_once_and_linked_no_more(quorum: Quorum) -> None:
    await quorum.listen(0, 1, 2)
    await until(lambda: linked(quorum, 0, 1, 2))

    quorum[0].links.close()

    await until(lambda: quorum[1].links.present == {VOTER_2})
    await until(lambda: quorum[2].links.present == {VOTER_1})
    assert not quorum[0].links.present


# --- Peers that do not keep up ----------------------------------------------------------------


async def test_peer_whose_messages_find_no_room_loses_its_link(quorum: Quorum) -> None:
    zero, _ = await quorum.listen(0, 1)
    await until(lambda: linked(quorum, 0, 1))
    zero.has_room = False

    quorum[1].links.send(VOTER_0, a_message(1))

    await until(lambda: len(zero.links_with(1)) == 2)


async def test_peer_that_does_not_read_loses_its_link_and_holds_nobody_up(
    quorum: Quorum, channels: BrokerChannels
) -> None:
    _, two = await quorum.listen(0, 2)
    stuck = await call(quorum, channels, VOTER_0)
    await answer_to(stuck, hello(quorum, VOTER_1, to=VOTER_0), Accepted())
    await until(lambda: quorum[0].links.present == {VOTER_1, VOTER_2})
    chunk = SnapshotChunk(
        term=1, index=2, index_term=1, checksum=b"", offset=0, total_bytes=MIB, data=bytes(MIB)
    )

    quorum[0].links.send(VOTER_1, chunk)
    quorum[0].links.send(VOTER_2, a_message(1))
    await until(lambda: two.messages)
    for _ in range(40):
        quorum[0].links.send(VOTER_1, chunk)

    await until(lambda: quorum[0].links.present == {VOTER_2})
    stuck.close()


# --- Who is refused ---------------------------------------------------------------------------


async def test_node_of_another_cluster_is_refused(quorum: Quorum, channels: BrokerChannels) -> None:
    quorum[0].cluster_id = "ours"
    await quorum.listen(0)
    said = replace(hello(quorum, VOTER_1, to=VOTER_0), cluster_id="theirs")

    error = await refusal_of(await call(quorum, channels, VOTER_0), said)

    assert isinstance(error, InconsistentClusterIdError)
    assert "'theirs'" in str(error)
    assert "'ours'" in str(error)


async def test_node_that_belongs_to_no_cluster_yet_is_let_in(quorum: Quorum) -> None:
    quorum[0].cluster_id = "ours"
    await quorum.listen(0, 1)

    await until(lambda: linked(quorum, 0, 1))


async def test_node_that_counts_on_other_voters_is_refused(
    quorum: Quorum, channels: BrokerChannels
) -> None:
    await quorum.listen(0)
    said = replace(hello(quorum, VOTER_1, to=VOTER_0), voters=frozenset({VOTER_0, VOTER_1}))

    error = await refusal_of(await call(quorum, channels, VOTER_0), said)

    assert isinstance(error, InconsistentVoterSetError)
    assert "voters 0, 1 and broker 0 on 0, 1, 2" in str(error)


async def test_node_that_means_somebody_else_is_refused(
    quorum: Quorum, channels: BrokerChannels
) -> None:
    await quorum.listen(0)

    error = await refusal_of(
        await call(quorum, channels, VOTER_0), hello(quorum, VOTER_2, to=VOTER_1)
    )

    assert "broker 2 means broker 1, and this is broker 0" in str(error)


async def test_node_with_our_own_id_is_refused(quorum: Quorum, channels: BrokerChannels) -> None:
    await quorum.listen(0)

    error = await refusal_of(
        await call(quorum, channels, VOTER_0), hello(quorum, VOTER_0, to=VOTER_0)
    )

    assert "two brokers say that they are broker 0" in str(error)


async def test_voter_that_is_to_be_called_may_not_call(
    quorum: Quorum, channels: BrokerChannels
) -> None:
    await quorum.listen(1)

    error = await refusal_of(
        await call(quorum, channels, VOTER_1), hello(quorum, VOTER_0, to=VOTER_1)
    )

    assert isinstance(error, InvalidRequestError)


async def test_wrong_broker_at_the_address_of_a_voter_is_not_linked(
    quorum: Quorum, caplog: pytest.LogCaptureFixture
) -> None:
    quorum[1].voters = {**quorum.voters, VOTER_0: quorum.addresses[VOTER_2]}
    await quorum.listen(1, 2)

    # Both sides tell it.
    await until(lambda: len(told_refusals(caplog)) == 2)
    assert VOTER_0 not in quorum[1].links.present


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(quorum_pb2.QuorumFrame(), id="of no kind"),
        pytest.param(
            quorum_pb2.QuorumFrame(vote_request=quorum_pb2.VoteRequest()), id="before Hello"
        ),
        pytest.param(quorum_pb2.QuorumFrame(hello=quorum_pb2.QuorumHello()), id="empty Hello"),
        pytest.param(b"\xff\xff", id="no protobuf"),
    ],
)
async def test_call_that_makes_no_sense_ends_with_a_typed_error(
    quorum: Quorum, channels: BrokerChannels, said: quorum_pb2.QuorumFrame | bytes
) -> None:
    await quorum.listen(0)
    content = said if isinstance(said, bytes) else said.SerializeToString()
    link = channels.to(quorum.addresses[VOTER_0]).stream_stream(
        "/ottla.v1.Quorum/Link", request_serializer=bytes, response_deserializer=bytes
    )
    frames = link(request_iterator=None, wait_for_ready=True)

    await frames.write(content)
    assert await frames.read()  # Hello
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await frames.read()

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not quorum[0].links.present


# --- Voters without memory --------------------------------------------------------------------


@pytest.mark.parametrize("wiped", [VOTER_0, VOTER_1], ids=["is called", "calls"])
async def test_voter_that_lost_its_directory_stays_out_until_it_is_readmitted(
    quorum: Quorum, wiped: BrokerId, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ottla")
    other = VOTER_1 - wiped
    quorum[other].known = {wiped: quorum[wiped].directory_id}
    quorum[wiped].directory_id = WIPED
    await quorum.listen(0, 1)

    links = quorum[other].links
    await until(lambda: wiped in links.refused)
    assert links.refused[wiped].directory_id == WIPED
    assert f"ottla cluster readmit-voter {wiped}" in links.refused[wiped].reason
    # Both sides tell it, each once.
    await until(lambda: len(told_refusals(caplog)) == 2)
    assert not links.present

    quorum[other].known = {wiped: WIPED}
    await until(lambda: linked(quorum, 0, 1))

    assert len(told_refusals(caplog)) == 2
    assert not links.refused


def told_refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "link_refused" in record.getMessage()]


async def test_link_ends_when_the_image_shows_that_a_voter_has_lost_its_directory(
    quorum: Quorum,
) -> None:
    await quorum.listen(0, 1)
    await until(lambda: linked(quorum, 0, 1))
    quorum[0].links.identity_changed()
    assert linked(quorum, 0, 1)

    quorum[0].known = {VOTER_1: WIPED}
    quorum[0].links.identity_changed()

    await until(lambda: not quorum[0].links.present)
    assert VOTER_1 in quorum[0].links.refused


@pytest.mark.parametrize("late", [0, 1], ids=["is called", "calls"])
async def test_no_link_is_made_before_the_voters_directories_are_known(
    quorum: Quorum, late: int
) -> None:
    quorum[late].knows_identity = False
    await quorum.listen(0, 1, 2)
    await until(lambda: linked(quorum, 1 - late, 2))
    assert not quorum[late].links.present

    quorum[late].known = {VOTER_2: WIPED}
    quorum[late].links.identity_changed()

    await until(lambda: linked(quorum, 0, 1))
    assert VOTER_2 not in quorum[late].links.present


async def test_observer_may_come_with_any_directory(quorum: Quorum) -> None:
    quorum[0].known = {OBSERVER: WIPED}
    await quorum.listen(0, 3)

    await until(lambda: linked(quorum, 0, 3))
