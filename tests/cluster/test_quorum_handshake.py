"""Two nodes that do not agree on who they are, or who votes, find that out by what they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ottla.cluster.quorum_handshake import (
    Hello,
    QuorumIdentity,
    VoterLostDirectoryError,
    check_hello,
)
from ottla.model.errors import InconsistentClusterIdError, InconsistentVoterSetError
from ottla.model.ids import BrokerId, MetadataOffset

ME, PEER, THIRD, OBSERVER = map(BrokerId, (1, 2, 3, 9))
VOTERS = frozenset({ME, PEER, THIRD})
KNOWN_DIRECTORY, OTHER_DIRECTORY = bytes([1] * 16), bytes([2] * 16)
NOTHING_KNOWN = QuorumIdentity(cluster_id="c", voters={})
KNOWN = QuorumIdentity(cluster_id="c", voters={PEER: KNOWN_DIRECTORY, OBSERVER: KNOWN_DIRECTORY})

OURS = Hello(
    node_id=ME,
    peer_id=PEER,
    cluster_id="c",
    voters=VOTERS,
    directory_id=bytes(16),
    incarnation_id=bytes(16),
)
THEIRS = replace(OURS, node_id=PEER, peer_id=ME, directory_id=KNOWN_DIRECTORY)
CALLED = replace(OURS, peer_id=None)


def test_nodes_that_agree_may_speak() -> None:
    check_hello(THEIRS, ours=OURS, known=KNOWN)
    check_hello(replace(THEIRS, peer_id=None), ours=OURS, known=KNOWN)
    check_hello(THEIRS, ours=CALLED, known=KNOWN)


@pytest.mark.parametrize(("theirs", "ours"), [("", "c"), ("c", ""), ("", "")])
def test_unknown_cluster_agrees_with_every_cluster(theirs: str, ours: str) -> None:
    check_hello(
        replace(THEIRS, cluster_id=theirs), ours=replace(OURS, cluster_id=ours), known=KNOWN
    )


def test_nodes_of_two_clusters_do_not_agree() -> None:
    with pytest.raises(InconsistentClusterIdError, match="'d' and broker 1 to 'c'"):
        check_hello(replace(THEIRS, cluster_id="d"), ours=OURS, known=KNOWN)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (replace(THEIRS, voters=VOTERS - {THIRD}), "voters 1, 2 and broker 1 on 1, 2, 3"),
        (replace(THEIRS, node_id=THIRD), "at the address of voter 2 answers broker 3"),
        (replace(THEIRS, peer_id=THIRD), "broker 2 means broker 3, and this is broker 1"),
    ],
)
def test_contradiction_names_both_sides(theirs: Hello, said: str) -> None:
    with pytest.raises(InconsistentVoterSetError, match=said):
        check_hello(theirs, ours=OURS, known=KNOWN)


def test_two_nodes_of_one_id_do_not_agree() -> None:
    with pytest.raises(InconsistentVoterSetError, match="two brokers say that they are broker 1"):
        check_hello(replace(THEIRS, node_id=ME), ours=CALLED, known=KNOWN)


def test_voter_with_another_directory_is_told_what_is_wrong_and_the_way_back() -> None:
    wiped = replace(THEIRS, directory_id=OTHER_DIRECTORY)

    with pytest.raises(VoterLostDirectoryError) as raised:
        check_hello(wiped, ours=OURS, known=KNOWN)

    message = str(raised.value)
    assert OTHER_DIRECTORY.hex() in message
    assert KNOWN_DIRECTORY.hex() in message
    assert "must not vote" in message
    assert "ottla cluster readmit-voter 2" in message
    assert raised.value.code == InconsistentVoterSetError.code


def test_directory_that_is_not_known_yet_may_be_any() -> None:
    check_hello(THEIRS, ours=OURS, known=NOTHING_KNOWN)
    check_hello(THEIRS, ours=OURS, known=replace(KNOWN, voters={PEER: b""}))


def test_directory_of_an_observer_does_not_matter() -> None:
    observer = replace(THEIRS, node_id=OBSERVER, directory_id=OTHER_DIRECTORY)

    check_hello(observer, ours=CALLED, known=KNOWN)


def test_voter_that_was_readmitted_is_let_in_by_a_node_that_is_behind() -> None:
    readmitted = replace(
        THEIRS,
        directory_id=OTHER_DIRECTORY,
        known_directory_id=OTHER_DIRECTORY,
        metadata_offset=MetadataOffset(20),
    )
    behind = replace(KNOWN, metadata_offset=MetadataOffset(10))
    check_hello(readmitted, ours=OURS, known=behind)

    ahead = replace(KNOWN, metadata_offset=MetadataOffset(30))
    with pytest.raises(VoterLostDirectoryError):
        check_hello(readmitted, ours=OURS, known=ahead)


def test_voter_without_memory_is_refused_whatever_offset_it_claims() -> None:
    lost = replace(THEIRS, directory_id=OTHER_DIRECTORY, metadata_offset=MetadataOffset(99))

    with pytest.raises(VoterLostDirectoryError):
        check_hello(lost, ours=OURS, known=KNOWN)
