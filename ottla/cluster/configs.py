"""Settings of topics and of brokers: described here, changed by the controller.

A setting has its value from the nearest of these places, and the description says from which:

1. the topic itself;
2. this broker, changed while it ran;
3. all brokers, changed while they ran;
4. this broker's file, environment and flags;
5. the default.

A topic is described as it is on this broker, and brokers may differ. A broker describes itself, for
nobody else knows its file. The default of all brokers is described by what is set there alone.
Where clients are told to find a broker is described as they are told, even if that is not set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ottla.cluster.admin_services import (
    ConfigEntry,
    ConfigSource,
    ConfigSynonym,
    Resource,
    ResourceType,
)
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.services import Result
from ottla.cluster.submits import Submits
from ottla.cluster.topics import why_unknown
from ottla.config.addresses import Address
from ottla.config.broker_config import BrokerConfig
from ottla.config.listeners import write_listeners
from ottla.config.settings import SETTINGS, BrokerSetting
from ottla.config.topic_settings import INERT_SETTINGS, TOPIC_SETTINGS, TopicSetting
from ottla.controller.requests import (
    AlterBrokerConfigs,
    AlterTopicConfigs,
    ConfigChange,
    ConfigChanges,
    TopicResult,
)
from ottla.model.errors import (
    InvalidRequestError,
    OttlaError,
    ResourceNotFoundError,
)
from ottla.model.ids import BrokerId
from ottla.model.image import TopicImage
from ottla.model.limits import (
    ADMIN_TIMEOUT_DEFAULT_MS,
    TOPIC_NAME_CHARACTERS_MAX,
    TOPICS_PER_REQUEST_MAX,
)

_ADVERTISED_LISTENERS: Final = "advertised.listeners"
_ALL_BROKERS: Final = ""
"""The name of the resource that is the default of all brokers."""

_TOPIC_SETTINGS: Final = sorted(
    (*TOPIC_SETTINGS.values(), *INERT_SETTINGS.values()), key=lambda setting: setting.key
)


class BrokerConfigsService:
    """See :class:`~ottla.cluster.services.ConfigsService`."""

    def __init__(self, controller: Submits, metadata: MetadataCache, config: BrokerConfig) -> None:
        self._controller = controller
        self._metadata = metadata
        self._config = config

    def describe_configs(
        self, resources: Sequence[tuple[Resource, Sequence[str]]]
    ) -> list[Result[Sequence[ConfigEntry]]]:
        _check_resource_count(len(resources))
        return [self._describe(resource, keys) for resource, keys in resources]

    def describe_new_topic(self, configs: Mapping[str, str]) -> Sequence[ConfigEntry]:
        return list(self._of_topic(configs))

    async def alter_configs(
        self,
        resources: Sequence[tuple[Resource, Sequence[ConfigChange]]],
        *,
        validate_only: bool,
        replaces: bool = False,
    ) -> list[Result[None]]:
        _check_resource_count(len(resources))
        answers: dict[ResourceType, Iterator[TopicResult]] = {}
        for kind in ResourceType:
            changes = tuple(
                ConfigChanges(name=resource.name, changes=tuple(changes), replaces=replaces)
                for resource, changes in resources
                if resource.type is kind
            )
            answers[kind] = iter(await self._alter(kind, changes, validate_only=validate_only))
        return [next(answers[resource.type]).error for resource, _ in resources]

    async def _alter(
        self, kind: ResourceType, changes: tuple[ConfigChanges, ...], *, validate_only: bool
    ) -> Sequence[TopicResult]:
        if not changes:
            return ()
        if kind is ResourceType.TOPIC:
            return await self._controller.submit(
                AlterTopicConfigs(topics=changes, validate_only=validate_only),
                timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
            )
        return await self._controller.submit(
            AlterBrokerConfigs(brokers=changes, validate_only=validate_only),
            timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
        )

    def _describe(self, resource: Resource, keys: Sequence[str]) -> Result[Sequence[ConfigEntry]]:
        try:
            if resource.type is ResourceType.TOPIC:
                entries = list(self._of_topic(self._topic(resource.name).configs))
            else:
                entries = list(self._of_broker(resource.name))
        except OttlaError as error:
            return error
        wanted = frozenset(keys)
        return [entry for entry in entries if not wanted or entry.key in wanted]

    def _topic(self, name: str) -> TopicImage:
        topic = self._metadata.image.topics.get(name)
        if topic is None:
            raise why_unknown(name)
        return topic

    def _of_topic(self, configs: Mapping[str, str]) -> Iterator[ConfigEntry]:
        for setting in _TOPIC_SETTINGS:
            key = setting.key
            synonyms = list(self._synonyms(setting.synonym))
            if key in configs:
                own = ConfigSynonym(key, configs[key], ConfigSource.DYNAMIC_TOPIC_CONFIG)
                synonyms.insert(0, own)
            default = setting.synonym or key
            synonyms.append(ConfigSynonym(default, setting.default, ConfigSource.DEFAULT_CONFIG))
            yield _entry(setting, synonyms, read_only=False)

    def _of_broker(self, name: str) -> Iterator[ConfigEntry]:
        if name == _ALL_BROKERS:
            yield from self._of_all_brokers()
            return
        if name != str(self._node_id):
            raise ResourceNotFoundError(
                f"this is broker {self._node_id}, which knows its own settings only; ask broker "
                f"{_shown(name)} itself, if there is one"
            )
        for setting in SETTINGS.values():
            default = ConfigSynonym(setting.key, setting.default, ConfigSource.DEFAULT_CONFIG)
            synonyms = [*self._synonyms(setting.key), default]
            if setting.key == _ADVERTISED_LISTENERS and len(synonyms) == 1 and self._told:
                # Whoever asks wants to know what clients are told; it was settled at the start.
                told = ConfigSynonym(setting.key, self._told, ConfigSource.STATIC_BROKER_CONFIG)
                synonyms.insert(0, told)
            yield _entry(setting, synonyms, read_only=not setting.dynamic)

    def _of_all_brokers(self) -> Iterator[ConfigEntry]:
        in_force = self._metadata.image.broker_configs.get(None, {})
        source = ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG
        for setting in SETTINGS.values():
            if setting.key in in_force:
                synonyms = [ConfigSynonym(setting.key, in_force[setting.key], source)]
                yield _entry(setting, synonyms, read_only=not setting.dynamic)

    @property
    def _told(self) -> str:
        """Where clients are told to find this broker's listeners."""
        broker = self._metadata.image.brokers.get(self._node_id)
        listeners = () if broker is None else broker.listeners
        return write_listeners({each.name: Address(each.host, each.port) for each in listeners})

    @property
    def _node_id(self) -> BrokerId:
        return self._config.node.node_id

    def _synonyms(self, key: str) -> Iterator[ConfigSynonym]:
        """Say where this broker's setting has a value from, the nearest first; not the default."""
        changed = self._metadata.image.broker_configs
        for configs, source in (
            (changed.get(self._node_id, {}), ConfigSource.DYNAMIC_BROKER_CONFIG),
            (changed.get(None, {}), ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG),
            (self._config.values, ConfigSource.STATIC_BROKER_CONFIG),
        ):
            if key in configs:
                yield ConfigSynonym(key, configs[key], source)


def _entry(
    setting: BrokerSetting | TopicSetting, synonyms: Sequence[ConfigSynonym], *, read_only: bool
) -> ConfigEntry:
    return ConfigEntry(
        key=setting.key,
        value=synonyms[0].value,
        default=setting.default,
        source=synonyms[0].source,
        read_only=read_only,
        sensitive=False,
        documentation=setting.documentation,
        type=setting.type,
        synonyms=synonyms,
    )


def _check_resource_count(count: int) -> None:
    if count > TOPICS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"the request names {count} resources; name at most {TOPICS_PER_REQUEST_MAX}"
        )


def _shown(name: str) -> str:
    """Quote a name that came with a request, which may be of any length."""
    return repr(name[:TOPIC_NAME_CHARACTERS_MAX])
