"""Settings of topics: change some, leave the others.

What a setting takes is in :mod:`ottla.config.topic_settings`; this is about changes. The metadata
log holds canonical values and only those that differ from what the topic has already, so that
setting a value twice writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ottla.config.topic_settings import (
    SettingType,
    canonical_value,
    effective_value,
    split_list,
    topic_setting,
)
from ottla.controller import records
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.requests import (
    AlterTopicConfigs,
    ConfigChange,
    ConfigOperation,
    TopicResult,
)
from ottla.controller.state import MetadataState
from ottla.controller.topics import ExistingNames, check_topic_count
from ottla.model.errors import InvalidConfigError, InvalidRequestError, OttlaError
from ottla.model.image import TopicImage


def alter_topic_configs(
    state: MetadataState, request: AlterTopicConfigs, *, broker_configs: Mapping[str, str]
) -> Decision[tuple[TopicResult, ...]]:
    """Decide on changes; a list that a topic does not set itself starts as ``broker_configs`` say.

    ``broker_configs`` is by broker key.
    """
    check_topic_count(len(request.topics))
    names = ExistingNames(state, [topic.name for topic in request.topics])
    results: list[TopicResult] = []
    steps: list[Step] = []
    for wanted in request.topics:
        try:
            step = _alter(names.find(wanted.name), wanted.changes, broker_configs)
        except OttlaError as error:
            results.append(TopicResult(name=wanted.name, error=error))
            continue
        results.append(TopicResult(name=wanted.name))
        if step and not request.validate_only:
            steps.append(step)
    return decided(state, tuple(results), *steps)


def _alter(
    topic: TopicImage, changes: tuple[ConfigChange, ...], broker_configs: Mapping[str, str]
) -> Step:
    counts = Counter(change.key for change in changes)
    altered = []
    for change in changes:
        if counts[change.key] > 1:
            raise InvalidRequestError(
                f"the request changes {change.key[:100]!r} of topic {topic.name!r} "
                f"{counts[change.key]} times; change it once"
            )
        value = _new_value(topic, change, broker_configs)
        if value != topic.configs.get(change.key):
            altered.append(records.topic_config_changed(topic.topic_id, change.key, value))
    return tuple(altered)


def _new_value(
    topic: TopicImage, change: ConfigChange, broker_configs: Mapping[str, str]
) -> str | None:
    """Return the canonical value that the change leads to; ``None``: the topic has none."""
    match change.operation:
        case ConfigOperation.SET:
            return canonical_value(change.key, change.value)
        case ConfigOperation.DELETE:
            # A topic may have a setting that this version knows no more; it can be taken away.
            if change.key not in topic.configs:
                topic_setting(change.key)
            return None
        case ConfigOperation.APPEND | ConfigOperation.SUBTRACT:
            return _edited_list(topic, change, broker_configs)


def _edited_list(topic: TopicImage, change: ConfigChange, broker_configs: Mapping[str, str]) -> str:
    setting = topic_setting(change.key)
    if setting.type is not SettingType.LIST:
        raise InvalidConfigError(
            f"{change.key} is no list, so nothing can be added to it or taken from it; set it"
        )
    present = split_list(
        effective_value(change.key, topic_configs=topic.configs, broker_configs=broker_configs)
    )
    given = split_list(change.value)
    if change.operation is ConfigOperation.APPEND:
        # Kept in order, and each item once.
        items = tuple(dict.fromkeys((*present, *given)))
    else:
        items = tuple(item for item in present if item not in given)
    return canonical_value(change.key, ",".join(items))
