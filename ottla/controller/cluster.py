"""The cluster itself: its identity, and the memory of its voters.

A cluster is *established* once: the first controller there is gives it an id, which from then on
is in the metadata log and therefore the same for everybody. Data directories and certificates are
compared with it.

A voter of the metadata quorum that lost its data directory has forgotten its votes. If it voted
again in a term in which it had voted already, two leaders could be elected, and acknowledged
metadata lost. So the log says which directory each voter's memory is in, and a voter with another
one gets no link to its peers. Once somebody has decided that the old directory is lost, the voter
is *readmitted* with the new one. That is safe because a majority without the voter commits the
decision: all that was committed before is on that majority too, so nothing depends on what the
voter forgot, and no candidate whom it may have voted for can win without that entry.
"""

from __future__ import annotations

from ottla.controller import records
from ottla.controller.decisions import Decision, decided
from ottla.controller.registration import DIRECTORY_ID_BYTES
from ottla.controller.requests import EstablishCluster, ReadmitVoter
from ottla.controller.state import MetadataState
from ottla.model.errors import InvalidRequestError
from ottla.model.limits import CLUSTER_ID_CHARACTERS_MAX


def establish_cluster(state: MetadataState, request: EstablishCluster) -> Decision[str]:
    """Decide on the cluster's id, unless it has one already."""
    if state.image.cluster_id:
        return decided(state, state.image.cluster_id)
    if not 0 < len(request.cluster_id) <= CLUSTER_ID_CHARACTERS_MAX:
        raise InvalidRequestError(
            f"a cluster id has 1 to {CLUSTER_ID_CHARACTERS_MAX} characters, and "
            f"{request.cluster_id[:100]!r} has {len(request.cluster_id)}"
        )
    return decided(state, request.cluster_id, (records.cluster_created(request.cluster_id),))


def readmit_voter(state: MetadataState, request: ReadmitVoter) -> Decision[None]:
    """Decide that a voter's memory is in another directory from now on."""
    admitted = state.image.voters.get(request.broker_id)
    if admitted is None:
        known = ", ".join(map(str, sorted(state.image.voters))) or "none"
        raise InvalidRequestError(
            f"broker {request.broker_id} is no voter that has ever registered, so it needs not be "
            f"readmitted; voters that have: {known}"
        )
    if len(request.directory_id) != DIRECTORY_ID_BYTES:
        raise InvalidRequestError(
            f"a directory id has {DIRECTORY_ID_BYTES} bytes, not {len(request.directory_id)}"
        )
    if request.directory_id == admitted:
        return decided(state, None)
    return decided(state, None, (records.voter_admitted(request.broker_id, request.directory_id),))
