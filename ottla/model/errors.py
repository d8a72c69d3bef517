"""Every error that a client can be told about.

Each class carries its Kafka error code and name, the gRPC status of a request
that fails as a whole because of it, and what the caller should do: send the same
request again (``retriable``), after asking for new metadata (``refreshes_metadata``).
Code that retries asks the class, never a list.

* :exc:`OttlaError`
    * :exc:`RetriableError` -- the same request may succeed later
        * :exc:`MetadataError` -- ... at the broker that new metadata names
    * :exc:`RefusedError` -- the request will never succeed as it is

A bug is not an error: broken invariants raise :exc:`AssertionError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class OttlaError(Exception):
    """Base class of the errors that may cross the wire; by itself, an unexpected one."""

    code: ClassVar[int] = -1
    name: ClassVar[str] = "UNKNOWN_SERVER_ERROR"
    status: ClassVar[str] = "INTERNAL"
    retriable: ClassVar[bool] = False
    refreshes_metadata: ClassVar[bool] = False


class RetriableError(OttlaError):
    """The request was refused by circumstance."""

    status = "UNAVAILABLE"
    retriable = True


class MetadataError(RetriableError):
    """The caller's view of the cluster, or the broker's, is out of date."""

    refreshes_metadata = True


class RefusedError(OttlaError):
    """The request will never succeed as it is."""

    status = "INVALID_ARGUMENT"


# --- The caller's view is out of date ------------------------------------------


class UnknownTopicOrPartitionError(MetadataError):
    """There is no such topic or partition, or this broker has not heard of it yet."""

    code, name, status = 3, "UNKNOWN_TOPIC_OR_PARTITION", "NOT_FOUND"


class LeaderNotAvailableError(MetadataError):
    """The partition has no leader at the moment."""

    code, name = 5, "LEADER_NOT_AVAILABLE"


class NotLeaderOrFollowerError(MetadataError):
    """The broker asked does not lead the partition, or the broker asking does not replicate it."""

    code, name = 6, "NOT_LEADER_OR_FOLLOWER"


class ReplicaNotAvailableError(MetadataError):
    """A replica cannot be told of: its broker does not serve, or has no listener for the caller."""

    code, name = 9, "REPLICA_NOT_AVAILABLE"


class StorageError(MetadataError):
    """The disk failed: the broker writes no more to that directory until it restarts."""

    code, name = 56, "KAFKA_STORAGE_ERROR"


class ListenerNotFoundError(MetadataError):
    """The partition's leader has no listener of the name through which the caller came."""

    code, name = 72, "LISTENER_NOT_FOUND"


class FencedLeaderEpochError(MetadataError):
    """The sender's leader epoch is older than ours."""

    code, name, status = 74, "FENCED_LEADER_EPOCH", "FAILED_PRECONDITION"


class UnknownTopicIdError(MetadataError):
    """No topic has this id; one with the same name may have been created since."""

    code, name, status = 100, "UNKNOWN_TOPIC_ID", "NOT_FOUND"


# --- Circumstance ---------------------------------------------------------------


class CorruptMessageError(RetriableError):
    """A batch does not have the length or the checksum that it claims."""

    code, name, status = 2, "CORRUPT_MESSAGE", "INVALID_ARGUMENT"


class RequestTimedOutError(RetriableError):
    """The time given ran out; the outcome is unknown."""

    code, name, status = 7, "REQUEST_TIMED_OUT", "DEADLINE_EXCEEDED"


class BrokerNotAvailableError(RetriableError):
    """The broker is starting or stopping and serves nobody at the moment."""

    code, name = 8, "BROKER_NOT_AVAILABLE"


class NotEnoughReplicasError(RetriableError):
    """Fewer replicas are in sync than ``min.insync.replicas``; nothing was appended."""

    code, name = 19, "NOT_ENOUGH_REPLICAS"


class NotEnoughReplicasAfterAppendError(RetriableError):
    """The batch was appended, then the in-sync set shrank below ``min.insync.replicas``."""

    code, name = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND"


class NotControllerError(RetriableError):
    """This broker is not the controller, or is not sure that it still is."""

    code, name = 41, "NOT_CONTROLLER"


class UnknownLeaderEpochError(RetriableError):
    """The sender's leader epoch is newer than ours; our metadata will catch up."""

    code, name = 75, "UNKNOWN_LEADER_EPOCH"


class PreferredLeaderNotAvailableError(MetadataError):
    """The preferred leader is not in sync, or does not serve."""

    code, name = 80, "PREFERRED_LEADER_NOT_AVAILABLE"


class EligibleLeadersNotAvailableError(MetadataError):
    """No replica can be elected without losing records."""

    code, name = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE"


class OffsetNotAvailableError(RetriableError):
    """A new leader does not know yet how much is committed."""

    code, name = 78, "OFFSET_NOT_AVAILABLE"


class ThrottlingQuotaExceededError(RetriableError):
    """A bound on concurrent work was reached; try again shortly."""

    code, name, status = 89, "THROTTLING_QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED"


class FetchSessionIdNotFoundError(RetriableError):
    """There is no such fetch session, or not any more; begin another with a full fetch."""

    code, name, status = 70, "FETCH_SESSION_ID_NOT_FOUND", "NOT_FOUND"


class InvalidFetchSessionEpochError(RetriableError):
    """A fetch session goes on at another epoch; begin another with a full fetch."""

    code, name, status = 71, "INVALID_FETCH_SESSION_EPOCH", "FAILED_PRECONDITION"


class FetchSessionTopicIdError(RetriableError):
    """A fetch session names topics by ids, and the request by names, or the reverse."""

    code, name, status = 106, "FETCH_SESSION_TOPIC_ID_ERROR", "FAILED_PRECONDITION"


# --- Refused --------------------------------------------------------------------


class OffsetOutOfRangeError(RefusedError):
    """The offset lies outside ``[log start, log end]``."""

    code, name, status = 1, "OFFSET_OUT_OF_RANGE", "OUT_OF_RANGE"


class MessageTooLargeError(RefusedError):
    """The batch is larger than ``max.message.bytes``."""

    code, name = 10, "MESSAGE_TOO_LARGE"


class InvalidTopicError(RefusedError):
    """The name is not one a topic may have."""

    code, name = 17, "INVALID_TOPIC_EXCEPTION"


class RecordListTooLargeError(RefusedError):
    """The batch is larger than a whole segment may be."""

    code, name = 18, "RECORD_LIST_TOO_LARGE"


class InvalidRequiredAcksError(RefusedError):
    """``acks`` is neither 0, 1 nor -1 (all)."""

    code, name = 21, "INVALID_REQUIRED_ACKS"


class InvalidTimestampError(RefusedError):
    """A record's timestamp is further from the broker's clock than the topic allows."""

    code, name = 32, "INVALID_TIMESTAMP"


class UnsupportedVersionError(RefusedError):
    """The broker does not know this version or kind of request."""

    code, name, status = 35, "UNSUPPORTED_VERSION", "UNIMPLEMENTED"


class TopicAlreadyExistsError(RefusedError):
    """A topic has this name already."""

    code, name, status = 36, "TOPIC_ALREADY_EXISTS", "ALREADY_EXISTS"


class InvalidPartitionsError(RefusedError):
    """The number of partitions is not possible, or not more than there are."""

    code, name = 37, "INVALID_PARTITIONS"


class InvalidReplicationFactorError(RefusedError):
    """The replication factor is below one or above the number of brokers."""

    code, name = 38, "INVALID_REPLICATION_FACTOR"


class InvalidReplicaAssignmentError(RefusedError):
    """The replicas named are not brokers of this cluster, or are named twice."""

    code, name = 39, "INVALID_REPLICA_ASSIGNMENT"


class InvalidConfigError(RefusedError):
    """A setting is unknown or its value is not one that it takes."""

    code, name = 40, "INVALID_CONFIG"


class InvalidRequestError(RefusedError):
    """The request contradicts itself or exceeds a limit."""

    code, name = 42, "INVALID_REQUEST"


class PolicyViolationError(RefusedError):
    """The topic's policy forbids it, e.g. deleting records of a compacted topic."""

    code, name, status = 44, "POLICY_VIOLATION", "FAILED_PRECONDITION"


class OutOfOrderSequenceError(RefusedError):
    """A batch of an idempotent producer does not follow its last one."""

    code, name, status = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", "FAILED_PRECONDITION"


class InvalidProducerEpochError(RefusedError):
    """The producer's epoch is older than the one the partition has seen."""

    code, name, status = 47, "INVALID_PRODUCER_EPOCH", "FAILED_PRECONDITION"


class InvalidTransactionStateError(RefusedError):
    """A plain batch arrived while the producer has a transaction open, or the reverse."""

    code, name, status = 48, "INVALID_TXN_STATE", "FAILED_PRECONDITION"


class OperationNotAttemptedError(RefusedError):
    """Another part of the same request failed, so this one was not tried."""

    code, name, status = 55, "OPERATION_NOT_ATTEMPTED", "ABORTED"


class LogDirNotFoundError(RefusedError):
    """The broker has no log directory of this path."""

    code, name, status = 57, "LOG_DIR_NOT_FOUND", "NOT_FOUND"


class UnsupportedCompressionError(RefusedError):
    """The batch names a codec that does not exist."""

    code, name = 76, "UNSUPPORTED_COMPRESSION_TYPE"


class StaleBrokerEpochError(RefusedError):
    """The broker has registered again since; this request is of its earlier life."""

    code, name, status = 77, "STALE_BROKER_EPOCH", "FAILED_PRECONDITION"


class InvalidRecordError(RefusedError):
    """A batch has the right checksum and the wrong content."""

    code, name = 87, "INVALID_RECORD"

    def __init__(self, message: str, *, record_indexes: Sequence[int] = ()) -> None:
        """Blame some records of a batch, counted from 0, or the batch as a whole."""
        super().__init__(message)
        self.record_indexes = record_indexes


class ResourceNotFoundError(RefusedError):
    """The resource that a configuration request names does not exist."""

    code, name, status = 91, "RESOURCE_NOT_FOUND", "NOT_FOUND"


class BrokerIdNotRegisteredError(RefusedError):
    """No broker with this id has registered with the cluster."""

    code, name, status = 102, "BROKER_ID_NOT_REGISTERED", "NOT_FOUND"


class InconsistentClusterIdError(RefusedError):
    """The sender belongs to another cluster."""

    code, name, status = 104, "INCONSISTENT_CLUSTER_ID", "FAILED_PRECONDITION"


class ClusterAuthorizationError(RefusedError):
    """The caller's certificate is not one that may do this."""

    code, name, status = 31, "CLUSTER_AUTHORIZATION_FAILED", "PERMISSION_DENIED"


class ElectionNotNeededError(RefusedError):
    """The partition has the leader already that was to be elected."""

    code, name, status = 84, "ELECTION_NOT_NEEDED", "FAILED_PRECONDITION"


class NoReassignmentError(RefusedError):
    """There is no reassignment of the partition that could be cancelled."""

    code, name, status = 85, "NO_REASSIGNMENT_IN_PROGRESS", "FAILED_PRECONDITION"


class InconsistentVoterSetError(RefusedError):
    """Two nodes disagree on who votes in the metadata quorum, or a voter has lost its memory."""

    code, name, status = 94, "INCONSISTENT_VOTER_SET", "FAILED_PRECONDITION"


class InvalidUpdateVersionError(RefusedError):
    """The partition has changed since; the proposal was made on an older partition epoch."""

    code, name, status = 95, "INVALID_UPDATE_VERSION", "ABORTED"


class FeatureUpdateFailedError(RefusedError):
    """A feature cannot be at the level asked for, or another one of the request cannot."""

    code, name, status = 96, "FEATURE_UPDATE_FAILED", "FAILED_PRECONDITION"


class IneligibleReplicaError(RefusedError):
    """A replica that is fenced, shutting down or of an earlier life cannot join the in-sync set."""

    code, name, status = 107, "INELIGIBLE_REPLICA", "FAILED_PRECONDITION"


class MismatchedEndpointTypeError(RefusedError):
    """Controllers were asked for, at an address where brokers serve."""

    code, name = 114, "MISMATCHED_ENDPOINT_TYPE"


class UnsupportedEndpointTypeError(RefusedError):
    """There are no endpoints of the type asked for."""

    code, name = 115, "UNSUPPORTED_ENDPOINT_TYPE"


# --- Groups -------------------------------------------------------------------------


class CoordinatorLoadInProgressError(RetriableError):
    """The coordinator is reading the group's log; it answers in a moment."""

    code, name = 14, "COORDINATOR_LOAD_IN_PROGRESS"


class CoordinatorNotAvailableError(MetadataError):
    """The group's partition has no leader, or takes no records at the moment."""

    code, name = 15, "COORDINATOR_NOT_AVAILABLE"


class NotCoordinatorError(MetadataError):
    """Another broker coordinates the group."""

    code, name = 16, "NOT_COORDINATOR"


class OffsetMetadataTooLargeError(RefusedError):
    """What was said about a committed offset is longer than ``offset.metadata.max.bytes``."""

    code, name = 12, "OFFSET_METADATA_TOO_LARGE"


class IllegalGenerationError(RefusedError):
    """The group has begun another generation since; the member must join again."""

    code, name, status = 22, "ILLEGAL_GENERATION", "FAILED_PRECONDITION"


class InconsistentGroupProtocolError(RefusedError):
    """The members of the group and this one have no protocol in common."""

    code, name, status = 23, "INCONSISTENT_GROUP_PROTOCOL", "FAILED_PRECONDITION"


class InvalidGroupIdError(RefusedError):
    """No group can have this id."""

    code, name = 24, "INVALID_GROUP_ID"


class UnknownMemberIdError(RefusedError):
    """The group has no such member, or has it no more; it must join anew."""

    code, name, status = 25, "UNKNOWN_MEMBER_ID", "FAILED_PRECONDITION"


class InvalidSessionTimeoutError(RefusedError):
    """The session timeout is outside of what the broker allows."""

    code, name = 26, "INVALID_SESSION_TIMEOUT"


class InvalidCommitOffsetSizeError(RefusedError):
    """The coordinator has as many committed offsets, or bytes about them, as it can hold."""

    code, name, status = 28, "INVALID_COMMIT_OFFSET_SIZE", "RESOURCE_EXHAUSTED"


class RebalanceInProgressError(RefusedError):
    """The group is rebalancing; the member must join again."""

    code, name, status = 27, "REBALANCE_IN_PROGRESS", "FAILED_PRECONDITION"


class NonEmptyGroupError(RefusedError):
    """The group has members; they must leave first."""

    code, name, status = 68, "NON_EMPTY_GROUP", "FAILED_PRECONDITION"


class GroupIdNotFoundError(RefusedError):
    """There is no such group, or it is of another kind."""

    code, name, status = 69, "GROUP_ID_NOT_FOUND", "NOT_FOUND"


class MemberIdRequiredError(RefusedError):
    """A member joins in two steps: it must join again, with the id that it is given here."""

    code, name, status = 79, "MEMBER_ID_REQUIRED", "FAILED_PRECONDITION"

    def __init__(self, message: str, member_id: str = "") -> None:
        """Tell a member the id to join with; it is not known of an error that a peer described."""
        super().__init__(message)
        self.member_id = member_id


class GroupMaxSizeReachedError(RefusedError):
    """The group has as many members as it may have."""

    code, name, status = 81, "GROUP_MAX_SIZE_REACHED", "RESOURCE_EXHAUSTED"


class FencedInstanceIdError(RefusedError):
    """Another process has joined with the same group instance id since."""

    code, name, status = 82, "FENCED_INSTANCE_ID", "FAILED_PRECONDITION"


class GroupSubscribedToTopicError(RefusedError):
    """A member of the group reads the topic, so that its offsets stay."""

    code, name, status = 86, "GROUP_SUBSCRIBED_TO_TOPIC", "FAILED_PRECONDITION"


class UnstableOffsetCommitError(RetriableError):
    """An open transaction has an offset for the partition that is not decided yet."""

    code, name = 88, "UNSTABLE_OFFSET_COMMIT"


class FencedMemberEpochError(RefusedError):
    """The member's epoch is not the one that the coordinator knows; it must join anew."""

    code, name, status = 110, "FENCED_MEMBER_EPOCH", "FAILED_PRECONDITION"


class UnreleasedInstanceIdError(RefusedError):
    """Another member still holds the group instance id."""

    code, name, status = 111, "UNRELEASED_INSTANCE_ID", "FAILED_PRECONDITION"


class UnsupportedAssignorError(RefusedError):
    """The coordinator has no assignor of this name, or the members name several."""

    code, name = 112, "UNSUPPORTED_ASSIGNOR"


class StaleMemberEpochError(RefusedError):
    """The member's epoch is behind; its next heartbeat tells it the new one."""

    code, name, status = 113, "STALE_MEMBER_EPOCH", "FAILED_PRECONDITION"


class InvalidRegularExpressionError(RefusedError):
    """The regular expression of a subscription is none."""

    code, name = 128, "INVALID_REGULAR_EXPRESSION"


# --- By code ------------------------------------------------------------------------


def _concrete(base: type[OttlaError]) -> dict[int, type[OttlaError]]:
    found: dict[int, type[OttlaError]] = {}
    for child in base.__subclasses__():
        found |= _concrete(child)
        if "code" in vars(child):
            assert child.code not in found, child
            found[child.code] = child
    return found


ERRORS_BY_CODE = _concrete(OttlaError)


def error_for(code: int, message: str) -> OttlaError:
    """Make the error that a peer described; an unknown code gives a plain :exc:`OttlaError`."""
    return ERRORS_BY_CODE.get(code, OttlaError)(message)
