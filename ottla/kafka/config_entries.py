"""Settings as Kafka's requests have them: resources by type and name, values as text.

Kafka has settings of more things than this broker. Of those that it has none of, the answer is
that nothing is set; of types that do not exist, it is an error.
"""

from __future__ import annotations

from typing import Final

from ottla.cluster.admin_services import Resource, ResourceType
from ottla.config.topic_settings import SettingType
from ottla.controller.requests import ConfigChange, ConfigOperation
from ottla.model.errors import InvalidConfigError, InvalidRequestError

BROKER_LOGGER: Final = 8
CLIENT_METRICS: Final = 16
GROUP: Final = 32

WITHOUT_SETTINGS: Final = {CLIENT_METRICS: "client metrics", GROUP: "groups"}
"""By type: what has settings in Kafka and none here."""

TYPE_CODES: Final = {
    SettingType.BOOLEAN: 1,
    SettingType.STRING: 2,
    SettingType.INT: 3,
    SettingType.LONG: 5,
    SettingType.DOUBLE: 6,
    SettingType.LIST: 7,
}
"""The numbers by which Kafka names the types of settings."""


def resource_of(type_code: int, name: str) -> Resource:
    """Return the resource; :exc:`InvalidRequestError` for a type that there is not."""
    try:
        return Resource(ResourceType(type_code), name)
    except ValueError:
        raise InvalidRequestError(
            f"{name[:100]!r} is of type {type_code}, which has no settings; ask for a topic "
            f"({ResourceType.TOPIC.value}) or a broker ({ResourceType.BROKER.value})"
        ) from None


def check_alterable(type_code: int, name: str) -> Resource:
    """Return the resource whose settings are to change; raises if it has none that can."""
    if type_code == BROKER_LOGGER:
        raise InvalidRequestError(
            "how much a broker logs is set when it starts, by diagnostics.level"
        )
    if type_code in WITHOUT_SETTINGS:
        raise InvalidConfigError(
            f"{WITHOUT_SETTINGS[type_code]} have no settings in this version, so nothing can be "
            f"set for {name[:100]!r}"
        )
    return resource_of(type_code, name)


def change_of(key: str, operation: int, value: str | None) -> ConfigChange:
    """Return the change; :exc:`InvalidRequestError` if there is no such operation, or no value."""
    try:
        kind = ConfigOperation(operation)
    except ValueError:
        raise InvalidRequestError(
            f"{key[:100]}: there is no operation {operation}; use SET (0), DELETE (1), APPEND (2) "
            "or SUBTRACT (3)"
        ) from None
    if value is None and kind is not ConfigOperation.DELETE:
        raise InvalidRequestError(without_value(key))
    return ConfigChange(key=key, operation=kind, value=value or "")


def without_value(key: str) -> str:
    """Say that a setting was given no value."""
    return f"{key[:100]} has no value; give it one, or delete it to have the default"
