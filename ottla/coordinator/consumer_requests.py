"""What a heartbeat of a consumer group must say, before anybody looks at the group.

The first heartbeat of a member says everything about it; later ones what has changed. Kafka's
codes are kept exactly: clients tell a bug of their own from a state of the group by them.
"""

from __future__ import annotations

from ottla.coordinator.requests import ConsumerHeartbeat, ConsumerJoin
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import InvalidRequestError, UnsupportedAssignorError
from ottla.model.limits import (
    CONSUMER_REBALANCE_TIMEOUT_MAX_MS,
    CONSUMER_SUBSCRIPTION_BYTES_MAX,
    GROUP_STRING_BYTES_MAX,
)


def check_heartbeat(request: ConsumerHeartbeat, settings: GroupSettings) -> None:
    """Raise :exc:`InvalidRequestError` or :exc:`UnsupportedAssignorError` for a bad heartbeat."""
    if not request.member_id and _must_have_member_id(request):
        raise InvalidRequestError("a heartbeat has no member id; make one, and keep it")
    if request.group_id == "" or request.group_instance_id == "" or request.rack_id == "":
        raise InvalidRequestError(
            "the group id, the group instance id or the rack id of a heartbeat is empty; "
            "leave out what there is none of"
        )
    if request.member_epoch == ConsumerJoin.JOIN:
        _check_join(request)
    elif request.member_epoch == ConsumerJoin.LEAVE_FOR_A_WHILE:
        if request.group_instance_id is None:
            raise InvalidRequestError(
                f"member {request.member_id!r} leaves for a while without a group instance id to "
                f"come back with; leave with epoch {ConsumerJoin.LEAVE}"
            )
    elif request.member_epoch < ConsumerJoin.LEAVE_FOR_A_WHILE:
        raise InvalidRequestError(f"{request.member_epoch} is no member epoch")
    assignor = request.server_assignor
    if assignor is not None and assignor not in settings.consumer_assignors:
        raise UnsupportedAssignorError(
            f"there is no assignor {assignor!r}; this broker has "
            f"{', '.join(settings.consumer_assignors)}"
        )
    _check_sizes(request)


def _must_have_member_id(request: ConsumerHeartbeat) -> bool:
    return (
        request.requires_member_id
        or request.member_epoch > ConsumerJoin.JOIN
        or request.member_epoch == ConsumerJoin.LEAVE
    )


def _check_join(request: ConsumerHeartbeat) -> None:
    if request.rebalance_timeout_ms is None:
        raise InvalidRequestError("a member joins without saying its rebalance timeout")
    if request.owned is None or any(request.owned.values()):
        raise InvalidRequestError(
            "a member joins without saying that it owns no partitions; it must give up what it "
            "has, and say so"
        )
    if request.subscribed_topic_names is None and request.subscribed_topic_regex is None:
        raise InvalidRequestError("a member joins without saying which topics it subscribes to")


def _check_sizes(request: ConsumerHeartbeat) -> None:
    for name, text in (
        ("group id", request.group_id),
        ("member id", request.member_id),
        ("group instance id", request.group_instance_id),
        ("rack id", request.rack_id),
        ("client id", request.client_id),
    ):
        # A character takes three bytes at most in the encoding of records but for rare ones.
        if text and len(text) > GROUP_STRING_BYTES_MAX // 4:
            raise InvalidRequestError(
                f"a {name} of {len(text)} characters is too long; use at most "
                f"{GROUP_STRING_BYTES_MAX // 4}"
            )
    timeout_ms = request.rebalance_timeout_ms
    if timeout_ms is not None and not 0 <= timeout_ms <= CONSUMER_REBALANCE_TIMEOUT_MAX_MS:
        raise InvalidRequestError(
            f"a rebalance timeout of {timeout_ms} ms is not between 0 and "
            f"{CONSUMER_REBALANCE_TIMEOUT_MAX_MS}"
        )
    names = request.subscribed_topic_names
    if names is not None and sum(map(len, names)) > CONSUMER_SUBSCRIPTION_BYTES_MAX // 4:
        raise InvalidRequestError(
            f"a subscription to {len(names)} topics by name is too large; subscribe to them by a "
            "regular expression"
        )
