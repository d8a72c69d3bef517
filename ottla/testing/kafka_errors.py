"""Responses of Kafka's protocol that say that everything failed, made from the requests.

A client believes an error only where it looks for it. That is the error code of the whole response
where its version has one, and otherwise that of each thing that the request names: a topic, a
partition, a group. Below a thing that failed nothing is listed. Some requests have both places, and
then the error decides:

==============  ================================================================================
Fetch           the whole for errors of the fetch session (KIP-227), else each partition
Metadata        each topic, whatever the error; the whole is for ``REBOOTSTRAP_REQUIRED`` alone
OffsetFetch     each partition for errors that are about partitions, else the group
==============  ================================================================================

A fetch within a session may leave out what it asks for, since the broker knows. It gets
``FETCH_SESSION_ID_NOT_FOUND``, as from a broker that has forgotten the session, and then the client
names everything again: see :func:`names_what_it_asks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import response_class
from ottla.wire.messages.metadata import MetadataResponseBroker
from ottla.wire.plan import is_within
from ottla.wire.schema import Message

UNKNOWN_TOPIC_OR_PARTITION: Final = 3
FETCH_SESSION_ID_NOT_FOUND: Final = 70
REBOOTSTRAP_REQUIRED: Final = 129

_WHOLE_FETCH: Final = frozenset({FETCH_SESSION_ID_NOT_FOUND, 71, 106})
_PARTITION_OF_GROUP: Final = frozenset({UNKNOWN_TOPIC_OR_PARTITION, 29, 88, 100})
"""Topic authorization, an unstable commit, an unknown topic id."""

_LISTS: Final = {
    "coordinators": ("coordinator_keys",),
    "entity": ("entity",),
    "entries": ("entries",),
    "filter_results": ("filters",),
    "groups": ("groups", "group_ids"),
    "partition_responses": ("partition_data",),
    "partition_result": ("partitions",),
    "partitions": ("partitions", "partition_indexes"),
    "replica_election_results": ("topic_partitions",),
    "responses": ("topic_data", "topics", "topic_names", "resources"),
    "results": ("topics", "resources", "groups_names", "creations"),
    "results_by_partition": ("partitions",),
    "results_by_topic_v3_and_below": ("v3_and_below_topics",),
    "topics": ("topics",),
    "transaction_states": ("transactional_ids",),
}
"""What the list of a response answers, by its name: lists of requests."""

_IDENTITIES: Final = (
    frozenset({"name", "topic", "topic_name"}),
    frozenset({"index", "partition", "partition_index", "partition_id"}),
    *(frozenset({name}) for name in ("topic_id", "group_id", "key", "transactional_id")),
    *(frozenset({name}) for name in ("resource_type", "resource_name")),
    *(frozenset({name}) for name in ("entity_type", "entity_name")),
)
"""Fields that say which thing is meant; one field has one name here and another there."""

_UNKNOWN: Final = {
    **dict.fromkeys(("base_offset", "committed_offset", "high_watermark", "low_watermark"), -1),
    **dict.fromkeys(("node_id", "port", "leader_id", "last_stable_offset"), -1),
    "records": b"",
}
"""What Kafka's brokers send beside an error, where that is neither nothing nor zero."""

_ERRORS: Final = ("error_code", "partition_error_code")


class BrokerAddress(NamedTuple):
    """A broker that a Metadata response names even if it names no topic."""

    broker_id: int
    host: str
    port: int


def names_what_it_asks(request: Message, error_code: int) -> bool:
    """Whether an error can be put where the client looks; see the top of this module."""
    within_session = request.API_KEY == ApiKey.FETCH and getattr(request, "session_epoch", 0) > 0
    return not within_session or error_code in _WHOLE_FETCH


def failed_response(
    version: int, request: Message, error_code: int, brokers: Sequence[BrokerAddress] = ()
) -> Any:  # noqa: ANN401 -- any message
    """Return the response in which everything that ``request`` asked failed.

    Args:
        version: of the request.
        request: as decoded.
        error_code: Kafka's number of an error.
        brokers: of the cluster; clients take a Metadata response without any for no answer.
    """
    response: Any = response_class(request.API_KEY)()
    if request.API_KEY == ApiKey.METADATA:
        response.brokers = [
            MetadataResponseBroker(node_id=broker_id, host=host, port=port)
            for broker_id, host, port in brokers
        ]
    if _is_of_the_whole(type(response), version, request, error_code):
        _set_error(response, error_code)
    elif request.API_KEY in _MADE_BY_HAND:
        response.results = _MADE_BY_HAND[request.API_KEY](type(response), request, error_code)
    else:
        stops = not (request.API_KEY == ApiKey.OFFSET_FETCH and error_code in _PARTITION_OF_GROUP)
        _list_failures(response, request, error_code, stops=stops)
    return response


def _is_of_the_whole(kind: type[Message], version: int, request: Message, error_code: int) -> bool:
    if not any(f.name == "error_code" and is_within(version, f.versions) for f in kind.FIELDS):
        return False
    match request.API_KEY:
        case ApiKey.FETCH:
            return error_code in _WHOLE_FETCH
        case ApiKey.METADATA:
            return error_code == REBOOTSTRAP_REQUIRED
        case ApiKey.OFFSET_FETCH:
            return error_code not in _PARTITION_OF_GROUP or not getattr(request, "topics", ())
        case _:
            return True


def _list_failures(response: Any, request: Any, error_code: int, *, stops: bool) -> None:  # noqa: ANN401 -- any message
    for field in type(response).FIELDS:
        if not field.array or isinstance(field.kind, str):
            continue
        for name in _LISTS.get(field.name, ()):
            if asked := getattr(request, name, None):
                failed = [_failure(field.kind, each, error_code, stops=stops) for each in asked]
                setattr(response, field.name, failed)
                break


def _failure(kind: type[Message], asked: object, error_code: int, *, stops: bool) -> Any:  # noqa: ANN401 -- any message
    """Return one thing that failed, named as in the request."""
    failure: Any = kind()
    _name(failure, asked)
    is_set = False
    if stops or not getattr(asked, "topics", ()):
        is_set = _set_error(failure, error_code)
    if isinstance(asked, Message):
        if is_set and "entity" not in kind.__slots__:
            return failure
        _list_failures(failure, asked, error_code, stops=stops)
    return failure


def _name(failure: Any, asked: object) -> None:  # noqa: ANN401 -- any message
    slots: tuple[str, ...] = type(failure).__slots__
    for names in _IDENTITIES:
        mine = next((name for name in slots if name in names), None)
        if mine is None:
            continue
        if not isinstance(asked, Message):
            setattr(failure, mine, asked)
            return
        theirs = next((field.name for field in asked.FIELDS if field.name in names), None)
        if theirs is not None:
            setattr(failure, mine, getattr(asked, theirs))


def _set_error(structure: Any, error_code: int) -> bool:  # noqa: ANN401 -- any message
    """Set the error and what goes with it; return whether there is a place for it."""
    slots = type(structure).__slots__
    name = next((name for name in _ERRORS if name in slots), None)
    if name is None:
        return False
    setattr(structure, name, error_code)
    if "error_message" in slots:
        structure.error_message = "refused by the test"
    for unknown, value in _UNKNOWN.items():
        if unknown in slots:
            setattr(structure, unknown, value)
    return True


# --- Responses whose lists are made up differently from those of their requests ---


def _element_kind(response_kind: type[Message], name: str) -> Any:  # noqa: ANN401 -- any message
    return next(field.kind for field in response_kind.FIELDS if field.name == name)


def _log_dirs(kind: type[Message], _request: Any, error_code: int) -> list[Message]:  # noqa: ANN401 -- any message
    """Nobody asks for directories by name, so one that has none fails."""
    return [_failure(_element_kind(kind, "results"), None, error_code, stops=True)]


def _moved_replicas(kind: type[Message], request: Any, error_code: int) -> list[Message]:  # noqa: ANN401 -- any message
    """The request lists topics by directory, the response topics alone."""
    topic = _element_kind(kind, "results")
    return [
        _failure(topic, asked, error_code, stops=True)
        for directory in request.dirs
        for asked in directory.topics
    ]


def _users(kind: type[Message], request: Any, error_code: int) -> list[Message]:  # noqa: ANN401 -- any message
    user = _element_kind(kind, "results")
    failures = []
    for name in dict.fromkeys(each.name for each in (*request.deletions, *request.upsertions)):
        failure = user(user=name)
        _set_error(failure, error_code)
        failures.append(failure)
    return failures


_MADE_BY_HAND: Final[dict[int, Callable[[type[Message], Any, int], list[Message]]]] = {
    ApiKey.DESCRIBE_LOG_DIRS: _log_dirs,
    ApiKey.ALTER_REPLICA_LOG_DIRS: _moved_replicas,
    ApiKey.ALTER_USER_SCRAM_CREDENTIALS: _users,
}
