"""What two nodes of the quorum must agree on before they say anything to each other.

Each side says who it is (:class:`Hello`) and looks at what the other says. They must mean each
other, be of one cluster, count on the same voters; and a voter must have the data directory that
the cluster knows it by. The cluster id is not compared while one side has none: a cluster that is
being made has no id before its first leader has given it one.

The last of these guards the votes. A voter that has lost its data directory has forgotten whom it
voted for and which entries it acknowledged. If it voted again, a majority could elect a leader
that lacks what another majority had committed. So it stays outside until an operator says that it
may begin anew (``ottla cluster readmit-voter``), and then its new directory is the known one.
Neither side can tell that of itself, so each tells the other.

Source: the same loss in Kafka's quorum is KIP-853's reason for directory ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ottla.model.errors import InconsistentClusterIdError, InconsistentVoterSetError
from ottla.model.ids import NO_METADATA, BrokerId, MetadataOffset


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a node says of itself, first thing on a link."""

    node_id: BrokerId
    peer_id: BrokerId | None
    """Whom it means to speak to; ``None`` if it was called and does not know yet."""
    cluster_id: str
    """Empty while it belongs to no cluster."""
    voters: frozenset[BrokerId]
    directory_id: bytes
    incarnation_id: bytes
    known_directory_id: bytes = b""
    """Its directory as the metadata says that it has applied; empty: nothing is said."""
    metadata_offset: MetadataOffset = NO_METADATA
    """How far it has applied the metadata log."""

    @property
    def is_known_to_itself(self) -> bool:
        """Whether the metadata that it has applied says that it may vote with its directory."""
        return self.known_directory_id == self.directory_id


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumIdentity:
    """What the newest image of the cluster says about the quorum."""

    cluster_id: str
    """Empty while this node belongs to no cluster."""
    voters: Mapping[BrokerId, bytes]
    """The data directory that each voter is known to have; others are not known yet."""
    metadata_offset: MetadataOffset = NO_METADATA
    """How far the image reflects the metadata log."""


@dataclass(frozen=True, slots=True)
class RefusedVoter:
    """A voter that was refused because it comes with another data directory."""

    directory_id: bytes
    """The one it has now."""
    reason: str


class VoterLostDirectoryError(InconsistentVoterSetError):
    """A voter comes with another data directory than the one that the cluster knows."""


def check_hello(theirs: Hello, *, ours: Hello, known: QuorumIdentity) -> None:
    """Check that ``ours`` may speak with ``theirs``.

    Raises:
        InconsistentClusterIdError: they belong to another cluster.
        VoterLostDirectoryError: they are a voter without memory.
        InconsistentVoterSetError: they mean somebody else, are somebody else than we meant, or
            count on other voters.
    """
    _check_meant(theirs, ours)
    if theirs.cluster_id and ours.cluster_id and theirs.cluster_id != ours.cluster_id:
        raise InconsistentClusterIdError(
            f"broker {theirs.node_id} belongs to cluster {theirs.cluster_id!r} and broker "
            f"{ours.node_id} to {ours.cluster_id!r}; controller.quorum.voters of one of them names "
            "a broker of another cluster"
        )
    if theirs.voters != ours.voters:
        raise InconsistentVoterSetError(
            f"broker {theirs.node_id} counts on the voters {_listed(theirs.voters)} and broker "
            f"{ours.node_id} on {_listed(ours.voters)}; give all brokers the same "
            "controller.quorum.voters"
        )
    expected = known.voters.get(theirs.node_id)
    # Who is behind must not judge who is ahead: a voter without memory gets no metadata from
    # anybody, so one that has newer metadata than ours, which names its directory, was readmitted.
    readmitted = theirs.is_known_to_itself and theirs.metadata_offset >= known.metadata_offset
    if (
        theirs.node_id in ours.voters
        and expected
        and theirs.directory_id != expected
        and not readmitted
    ):
        raise VoterLostDirectoryError(
            f"voter {theirs.node_id} has lost its data directory: it comes with "
            f"{theirs.directory_id.hex()}, and the cluster knows it with {expected.hex()}. It has "
            "forgotten what it voted for and what it acknowledged, so it must not vote. Give it "
            "the old directory back; if that is gone for good, run: "
            f"ottla cluster readmit-voter {theirs.node_id}"
        )


def _check_meant(theirs: Hello, ours: Hello) -> None:
    if ours.peer_id is not None and theirs.node_id != ours.peer_id:
        raise InconsistentVoterSetError(
            f"at the address of voter {ours.peer_id} answers broker {theirs.node_id}; correct "
            "controller.quorum.voters"
        )
    if theirs.peer_id is not None and theirs.peer_id != ours.node_id:
        raise InconsistentVoterSetError(
            f"broker {theirs.node_id} means broker {theirs.peer_id}, and this is broker "
            f"{ours.node_id}; correct controller.quorum.voters"
        )
    if theirs.node_id == ours.node_id:
        raise InconsistentVoterSetError(
            f"two brokers say that they are broker {ours.node_id}; give each a node.id of its own"
        )


def _listed(voters: frozenset[BrokerId]) -> str:
    return ", ".join(map(str, sorted(voters)))
