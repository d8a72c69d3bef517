"""Settings of topics and of this broker: described here, changed by the controller.

A topic's setting has its value from the nearest of three sources: the topic itself, the broker's
setting of the corresponding name, the default. The description says which. A broker's settings come
from its file, environment and flags; they are described by that broker and changed by nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.services import ConfigEntry, ConfigSource, Resource, ResourceType, Result
from ottla.cluster.submits import Submits
from ottla.config.broker_config import BrokerConfig, described_settings
from ottla.config.topic_settings import TOPIC_SETTINGS, effective_value
from ottla.controller.requests import AlterTopicConfigs, ConfigChange, ConfigChanges, TopicResult
from ottla.model.errors import (
    InvalidRequestError,
    OttlaError,
    ResourceNotFoundError,
    UnknownTopicOrPartitionError,
)
from ottla.model.image import TopicImage
from ottla.model.limits import (
    ADMIN_TIMEOUT_DEFAULT_MS,
    TOPIC_NAME_CHARACTERS_MAX,
    TOPICS_PER_REQUEST_MAX,
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

    async def alter_configs(
        self, resources: Sequence[tuple[Resource, Sequence[ConfigChange]]], *, validate_only: bool
    ) -> list[Result[None]]:
        _check_resource_count(len(resources))
        topics = [
            ConfigChanges(name=resource.name, changes=tuple(changes))
            for resource, changes in resources
            if resource.type is ResourceType.TOPIC
        ]
        answers = iter(await self._alter_topics(topics, validate_only=validate_only))
        return [
            next(answers).error
            if resource.type is ResourceType.TOPIC
            else InvalidRequestError(
                f"settings of broker {_shown(resource.name)} cannot be changed while it runs; "
                "change its file, environment or flags and restart it"
            )
            for resource, _ in resources
        ]

    async def _alter_topics(
        self, topics: Sequence[ConfigChanges], *, validate_only: bool
    ) -> Sequence[TopicResult]:
        if not topics:
            return ()
        return await self._controller.submit(
            AlterTopicConfigs(topics=tuple(topics), validate_only=validate_only),
            timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
        )

    def _describe(self, resource: Resource, keys: Sequence[str]) -> Result[Sequence[ConfigEntry]]:
        try:
            if resource.type is ResourceType.TOPIC:
                entries = list(self._of_topic(self._topic(resource.name)))
            else:
                entries = list(self._of_broker(resource.name))
        except OttlaError as error:
            return error
        wanted = frozenset(keys)
        return [entry for entry in entries if not wanted or entry.key in wanted]

    def _topic(self, name: str) -> TopicImage:
        topic = self._metadata.image.topics.get(name)
        if topic is None:
            raise UnknownTopicOrPartitionError(
                f"there is no topic {_shown(name)}; `ottla topic list` shows those there are"
            )
        return topic

    def _of_topic(self, topic: TopicImage) -> Iterator[ConfigEntry]:
        broker_configs = self._config.values
        for setting in TOPIC_SETTINGS.values():
            source = ConfigSource.DEFAULT_CONFIG
            if setting.key in topic.configs:
                source = ConfigSource.TOPIC_CONFIG
            elif setting.synonym in broker_configs:
                source = ConfigSource.BROKER_CONFIG
            yield ConfigEntry(
                key=setting.key,
                value=effective_value(
                    setting.key, topic_configs=topic.configs, broker_configs=broker_configs
                ),
                default=setting.default,
                source=source,
                read_only=False,
                sensitive=False,
                documentation=setting.documentation,
            )

    def _of_broker(self, name: str) -> Iterator[ConfigEntry]:
        node_id = self._config.node.node_id
        if name != str(node_id):
            raise ResourceNotFoundError(
                f"this is broker {node_id}, which knows its own settings only; ask broker "
                f"{_shown(name)} itself, if there is one"
            )
        for setting in described_settings(self._config):
            yield ConfigEntry(
                key=setting.key,
                value=setting.value,
                default=setting.default,
                source=ConfigSource.DEFAULT_CONFIG
                if setting.is_default
                else ConfigSource.BROKER_CONFIG,
                read_only=True,
                sensitive=False,
                documentation=setting.documentation,
            )


def _check_resource_count(count: int) -> None:
    if count > TOPICS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"the request names {count} resources; name at most {TOPICS_PER_REQUEST_MAX}"
        )


def _shown(name: str) -> str:
    """Quote a name that came with a request, which may be of any length."""
    return repr(name[:TOPIC_NAME_CHARACTERS_MAX])
