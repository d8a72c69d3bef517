"""Responses of Kafka's protocol that say that everything failed, made from the requests.

Where a response has an error code of its own, at the version in question, that is set. Otherwise
each thing that the request names (a topic, a partition, a group) gets one, so that clients find
what they asked for.
"""

from __future__ import annotations

from typing import Any, Final

from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import response_class
from ottla.wire.plan import is_within
from ottla.wire.schema import Message

_SYNONYMS: Final = (
    frozenset({"name", "topic", "topic_name"}),
    frozenset({"index", "partition", "partition_index"}),
    frozenset({"topic_data", "topics", "responses", "topic_names"}),
    frozenset({"partition_data", "partitions", "partition_responses", "partition_indexes"}),
    frozenset({"groups", "groups_names", "group_ids", "results"}),
    frozenset({"resources", "results", "responses", "topics"}),
    frozenset({"coordinators", "coordinator_keys"}),
)
"""What requests and responses call by different names."""

_IDENTITIES: Final = ("name", "topic", "partition_index", "partition", "index", "group_id", "key")
"""The field that takes what a request lists without a structure."""

_PER_TOPIC: Final = frozenset({ApiKey.METADATA})
"""Clients give up the cluster because of the error of the whole."""


def failed_response(api_key: int, version: int, request: Message, error_code: int) -> Any:  # noqa: ANN401 -- any message
    """Return the response in which everything that ``request`` asked failed.

    Args:
        api_key: of the request.
        version: of the request.
        request: as decoded.
        error_code: Kafka's number of an error.
    """
    kind = response_class(api_key)
    response: Any = kind()
    whole = next((field for field in kind.FIELDS if field.name == "error_code"), None)
    if whole is not None and is_within(version, whole.versions) and api_key not in _PER_TOPIC:
        response.error_code = error_code
        return response
    _fill(response, request, error_code)
    return response


def _fill(response: Any, request: Any, error_code: int) -> None:  # noqa: ANN401 -- any message
    for field in type(response).FIELDS:
        if field.name == "error_code":
            response.error_code = error_code
        elif isinstance(field.kind, str):
            if not field.array and (name := _counterpart(request, field.name)) is not None:
                setattr(response, field.name, getattr(request, name))
        elif field.array and (name := _counterpart(request, field.name)) is not None:
            elements = getattr(request, name) or ()
            failed = [_failed(field.kind, element, error_code) for element in elements]
            setattr(response, field.name, failed)


def _failed(kind: type[Message], element: object, error_code: int) -> Any:  # noqa: ANN401 -- any message
    response: Any = kind()
    if isinstance(element, Message):
        _fill(response, element, error_code)
        return response
    response.error_code = error_code
    for name in _IDENTITIES:
        if name in kind.__slots__:
            setattr(response, name, element)
            break
    return response


def _counterpart(request: Message, name: str) -> str | None:
    """Return what a request calls the field that a response calls ``name``."""
    there = {field.name for field in request.FIELDS}
    if name in there and getattr(request, name):
        return name
    for synonyms in _SYNONYMS:
        for other in sorted(synonyms & there) if name in synonyms else ():
            if getattr(request, other):
                return other
    return name if name in there else None
