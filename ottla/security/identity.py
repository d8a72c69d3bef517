"""Who is at the other end of a connection, by its certificate.

A broker's certificate has the common name ``broker-<node.id>``, which ``ottla certs create`` writes
into it; every other name is a client's. The names of hosts in a certificate say where a broker may
be found, and are checked by whoever connects; the common name says who it is, and is checked by
whoever is connected to: a client's certificate is of the same authority, but it is no broker's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ottla.model.errors import ClusterAuthorizationError
from ottla.model.ids import BrokerId

BROKER_NAME_PREFIX: Final = "broker-"

_BROKER_NAME = re.compile(r"broker-(0|[1-9][0-9]{0,9})\Z")
_BROKER_ID_MAX: Final = 2**31 - 1
ANONYMOUS: Final = "User:ANONYMOUS"
"""Whoever does not say who it is, in Kafka's words."""

_SHORT_NAMES: Final = {
    "commonName": "CN",
    "organizationalUnitName": "OU",
    "organizationName": "O",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}

_COMMON_NAME: Final = "x509_common_name"
_CERTIFICATE: Final = "x509_pem_cert"


def common_name(authentication: Mapping[str, Iterable[bytes]]) -> str | None:
    """Return the name in the certificate that a gRPC peer has shown; ``None`` without one.

    ``authentication`` is a call's ``auth_context()``.
    """
    names = list(authentication.get(_COMMON_NAME, ()))
    return names[0].decode(errors="replace") if len(names) == 1 else None


def broker_of(authentication: Mapping[str, Iterable[bytes]]) -> BrokerId | None:
    """Return the broker that a certificate was made for; ``None`` if it is not a broker's."""
    match = _BROKER_NAME.match(common_name(authentication) or "")
    if match is None or int(match[1]) > _BROKER_ID_MAX:
        return None
    return BrokerId(int(match[1]))


def check_broker(authentication: Mapping[str, Iterable[bytes]], claimed: BrokerId) -> None:
    """Check that whoever calls as broker ``claimed`` may do so.

    If it has shown a certificate, that must be the broker's. If it has not, then brokers are not
    asked for certificates here, for a server that asks lets nobody in without; and then there is
    nothing to check. So this needs no setting, and cannot be forgotten where one is changed.

    ``authentication`` is a call's ``auth_context()``. Raises :exc:`ClusterAuthorizationError`.
    """
    if _CERTIFICATE not in authentication and _COMMON_NAME not in authentication:
        return
    if broker_of(authentication) != claimed:
        raise ClusterAuthorizationError(
            f"the caller says that it is broker {claimed}, and its certificate has the common name "
            f"{common_name(authentication)!r}, not {BROKER_NAME_PREFIX}{claimed}; give every "
            "broker a certificate of its own (ottla certs create)"
        )


def principal_of(certificate: Mapping[str, Any] | None) -> str:
    """Return Kafka's name for whoever has shown a certificate: ``User:CN=billing,O=Example``.

    ``certificate`` is what ``SSLObject.getpeercert()`` returns: empty, or ``None``, without one.
    The distinguished name is written as in RFC 2253, the most particular part first.
    """
    if not certificate:
        return ANONYMOUS
    return "User:" + ",".join(
        "+".join(f"{_SHORT_NAMES.get(name, name)}={_escaped(value)}" for name, value in part)
        for part in reversed(certificate["subject"])
    )


def _escaped(value: str) -> str:
    escaped = re.sub(r'([,+"\\<>;=])', r"\\\1", value)
    return f"\\{escaped}" if escaped.startswith(("#", " ")) else escaped
