"""What is wrong with a request by itself, whatever its group is."""

from __future__ import annotations

from typing import Any, Final

from ottla.coordinator.requests import (
    ConsumerHeartbeat,
    DeleteOffsets,
    GroupRequest,
    Heartbeat,
    JoinGroup,
    LeaveGroup,
    SyncGroup,
)
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import (
    InvalidGroupIdError,
    InvalidRequestError,
    InvalidSessionTimeoutError,
)
from ottla.model.limits import GROUP_STRING_BYTES_MAX

_NEED_A_GROUP: Final = (
    JoinGroup,
    SyncGroup,
    Heartbeat,
    LeaveGroup,
    ConsumerHeartbeat,
    DeleteOffsets,
)
"""Offsets could be committed for the group without a name once, so that one may exist."""


def check_group_id(request: GroupRequest[Any]) -> None:
    """Raise if no group can have this id."""
    if not request.group_id and isinstance(request, _NEED_A_GROUP):
        raise InvalidGroupIdError("A group's id must not be empty: set group.id.")
    if _is_too_long(request.group_id):
        raise InvalidGroupIdError(f"A group's id has at most {GROUP_STRING_BYTES_MAX} bytes.")


def check_join(request: JoinGroup, settings: GroupSettings) -> None:
    """Raise if nobody may join any group like this."""
    lowest_ms, highest_ms = settings.session_timeout_min_ms, settings.session_timeout_max_ms
    if not lowest_ms <= request.session_timeout_ms <= highest_ms:
        raise InvalidSessionTimeoutError(
            f"A session.timeout.ms of {request.session_timeout_ms} is not between the"
            f" {lowest_ms} of group.min.session.timeout.ms and the {highest_ms} of"
            " group.max.session.timeout.ms."
        )
    texts = [request.member_id, request.group_instance_id or "", request.client_id]
    texts += [request.client_host, request.protocol_type]
    texts += [protocol.name for protocol in request.protocols]
    if any(_is_too_long(text) for text in texts):
        raise InvalidRequestError(
            f"The ids and names of a member have at most {GROUP_STRING_BYTES_MAX} bytes each."
        )


def _is_too_long(text: str) -> bool:
    # Looked at in bytes only if it can matter.
    return len(text) * 4 > GROUP_STRING_BYTES_MAX and len(text.encode()) > GROUP_STRING_BYTES_MAX
