"""Messages of an old link are dropped, and what is said has been made durable first."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.controller.raft.fatal import raise_node_stopped
from ottla.controller.raft.journal import Journal
from ottla.controller.raft.messages import (
    AppendRequest,
    AppendResponse,
    Entry,
    Message,
    SnapshotChunk,
    VoteRequest,
)
from ottla.controller.raft.transport import Links, NoPeers, Outbox
from ottla.model.ids import BrokerId
from ottla.model.limits import RAFT_OUTBOX_MESSAGES_MAX
from ottla.simulation.disk import SimulatedDisk
from tests.controller.raft.cluster import Cluster

PEER = BrokerId(2)
HELLO = AppendResponse(term=1, accepted=True, next_index=2)


class Spy:
    """A transport that notes whether the journal was durable when it was asked to send."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.sent: list[tuple[BrokerId, Message, bool]] = []

    def send(self, peer: BrokerId, message: Message) -> None:
        self.sent.append((peer, message, not self._journal.dirty))


def outbox() -> tuple[Outbox, Journal, Spy]:
    disk = SimulatedDisk(seed=0)
    disk.make_directory(Path("/metadata"))
    journal = Journal.open(
        Path("/metadata/journal"), file_system=disk, snapshot=None, fatal=raise_node_stopped
    )
    spy = Spy(journal)
    return Outbox(spy, journal), journal, spy


def test_message_waits_for_the_flush_which_syncs_first() -> None:
    box, journal, spy = outbox()
    journal.set_term(1, PEER)
    box.send(PEER, HELLO)
    assert spy.sent == []

    box.flush()

    assert spy.sent == [(PEER, HELLO, True)]


def test_messages_leave_in_order() -> None:
    box, _, spy = outbox()
    messages = [AppendResponse(term=1, accepted=True, next_index=n) for n in range(10)]
    for message in messages:
        box.send(PEER, message)
    box.flush()

    assert [message for _, message, _ in spy.sent] == messages


def test_waiting_messages_are_bounded() -> None:
    box, journal, spy = outbox()
    journal.set_term(1, None)
    for _ in range(RAFT_OUTBOX_MESSAGES_MAX):
        box.send(PEER, HELLO)

    assert len(spy.sent) == RAFT_OUTBOX_MESSAGES_MAX
    assert all(durable for _, _, durable in spy.sent)


def test_quorum_of_one_has_nobody_to_send_to() -> None:
    with pytest.raises(AssertionError, match="does not exist"):
        NoPeers().send(PEER, HELLO)


# --- Links ------------------------------------------------------------------------------


def test_only_the_present_link_counts() -> None:
    links = Links()
    links.begin(PEER, 1)
    links.begin(PEER, 2)

    assert [links.is_present(PEER, link) for link in (1, 2, 3)] == [False, True, False]


def test_end_of_an_old_link_does_not_end_the_present_one() -> None:
    links = Links()
    links.begin(PEER, 1)
    links.begin(PEER, 2)

    assert not links.end(PEER, 1)
    assert links.is_present(PEER, 2)


def test_new_link_tells_whether_it_replaces_one() -> None:
    links = Links()

    assert [links.begin(PEER, 1), links.begin(PEER, 2)] == [False, True]
    links.end(PEER, 2)
    assert not links.begin(PEER, 3)


def test_link_numbers_rise() -> None:
    links = Links()
    links.begin(PEER, 5)

    with pytest.raises(AssertionError, match="not a new one"):
        links.begin(PEER, 5)


def test_engine_drops_messages_of_an_old_link() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    old = cluster.network.link(1, 2)
    assert old is not None
    cluster.disconnect(1, 2)
    cluster.connect(1, 2)

    leader.receive(PEER, old, AppendResponse(term=99, accepted=False, next_index=1))

    assert leader.term < 99


def test_link_that_is_replaced_without_a_report_starts_over() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.propose(1, "lost with the old link")
    cluster.tick(1)
    cluster.network.cut(1, 2)
    link = cluster.network.connect(1, 2)
    leader.connected(PEER, link)
    cluster.engines[2].connected(BrokerId(1), link)

    cluster.run(300)

    assert cluster.machines[2].texts() == ["lost with the old link"]


# --- Messages that cannot be made -------------------------------------------------------------


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param((Entry(b"\x00", 9, 1),), id="gap"),
        pytest.param((Entry(b"\x00", 6, 1), Entry(b"\x00", 6, 1)), id="repeated index"),
        pytest.param((Entry(b"\x00", 6, 0),), id="term goes back"),
        pytest.param((Entry(b"\x00", 6, 4),), id="term beyond the leader's"),
        pytest.param((Entry(b"", 6, 1),), id="no command"),
    ],
)
def test_append_that_contradicts_itself_cannot_be_made(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(ValueError, match="cannot stand at"):
        AppendRequest(term=3, previous_index=5, previous_term=1, entries=entries, commit_index=0)


@pytest.mark.parametrize(("offset", "data"), [(-1, b""), (11, b""), (8, b"abc")])
def test_part_outside_its_snapshot_cannot_be_made(offset: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="are not part of 10"):
        SnapshotChunk(
            term=1,
            index=1,
            index_term=1,
            checksum=b"",
            offset=offset,
            total_bytes=10,
            data=data,
        )


def test_messages_are_values() -> None:
    request = VoteRequest(campaign_term=1, last_log_index=1, last_log_term=1, pre_vote=False)

    with pytest.raises(AttributeError):
        request.campaign_term = 2  # type: ignore[misc]
