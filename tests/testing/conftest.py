"""The fixtures of the kit, for the tests of the kit; where it is installed, pytest finds them."""

from __future__ import annotations

from ottla.testing.plugin import (
    _ottla_session_broker,
    _ottla_session_cluster,
    ottla_broker,
    ottla_cluster,
    ottla_settings,
    ottla_shared_broker,
    ottla_shared_cluster,
    ottla_topic,
)

__all__ = [
    "_ottla_session_broker",
    "_ottla_session_cluster",
    "ottla_broker",
    "ottla_cluster",
    "ottla_settings",
    "ottla_shared_broker",
    "ottla_shared_cluster",
    "ottla_topic",
]
