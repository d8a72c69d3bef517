"""Settings of topics and of brokers: change some, leave the others.

What a setting takes is in :mod:`ottla.config.topic_settings` and :mod:`ottla.config.settings`;
this is about changes. The metadata log holds canonical values and only those that differ from
what there is already, so that setting a value twice writes nothing.

Of the settings of brokers, those can be changed that are defaults of topic settings, and a few
others (:attr:`~ottla.config.settings.BrokerSetting.dynamic`): of one broker, or the default of all,
which a broker's own comes before. What elections depend on is
looked up by the controller, for any replica may be elected; so it cannot differ from broker to
broker, and is only changed for all.

A change of what elections depend on is an event for every partition it concerns: with a lower
``min.insync.replicas``, say, nobody may be eligible any more. Those changes come first: eligible
too few is safe, and too many is not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ottla.config.settings import SETTINGS, UNIT_ROWS
from ottla.config.topic_settings import (
    INERT_SETTINGS,
    TOPIC_SETTINGS,
    SettingType,
    canonical_value,
    effective_value,
    split_list,
    topic_setting,
)
from ottla.controller import records
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.elections import available_brokers, settled
from ottla.controller.partition_steps import Change, partition_steps, topic_steps
from ottla.controller.requests import (
    AlterBrokerConfigs,
    AlterTopicConfigs,
    ConfigChange,
    ConfigChanges,
    ConfigOperation,
    TopicResult,
)
from ottla.controller.state import MetadataState
from ottla.controller.topic_rules import RULING_KEYS, RuleBook
from ottla.controller.topics import ExistingNames, check_topic_count
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    InvalidConfigError,
    InvalidRequestError,
    OttlaError,
)
from ottla.model.ids import BrokerId
from ottla.model.image import TopicImage

_BROKER_ID: Final = re.compile(r"[0-9]{1,10}")

_TOPIC_KEYS: Final[Mapping[str, str]] = {row.synonym: row.key for row in TOPIC_SETTINGS.values()}
"""By the broker setting that is the default: the topic setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """A topic, a broker, or all brokers: who has settings."""

    title: str
    configs: Mapping[str, str]
    """What it sets itself."""
    topic_key: Callable[[str], str | None]
    """The topic setting that a key of its own stands for, if any; raises if it can have no such
    key."""
    inherited: Callable[[str], str]
    """By topic key: what counts for it if it does not set it itself."""


def alter_topic_configs(
    state: MetadataState, request: AlterTopicConfigs, *, rules: RuleBook
) -> Decision[tuple[TopicResult, ...]]:
    """Decide on changes; a list that a topic does not set itself starts as the brokers' is."""
    check_topic_count(len(request.topics))
    names = ExistingNames(state, [topic.name for topic in request.topics])
    results: list[TopicResult] = []
    steps: list[Step] = []
    for wanted in request.topics:
        try:
            topic = names.find(wanted.name)
            altered = _altered(_topic_owner(topic, rules), wanted)
        except OttlaError as error:
            results.append(TopicResult(name=wanted.name, error=error))
            continue
        results.append(TopicResult(name=wanted.name))
        if altered and not request.validate_only:
            steps.extend(_consequences(state, topic, altered, rules))
            steps.append(
                tuple(
                    records.topic_config_changed(topic.topic_id, key, value)
                    for key, value in altered.items()
                )
            )
    return decided(state, tuple(results), *steps)


def alter_broker_configs(
    state: MetadataState, request: AlterBrokerConfigs, *, rules: RuleBook
) -> Decision[tuple[TopicResult, ...]]:
    """Decide on changes of brokers' settings, or of the default of all."""
    check_topic_count(len(request.brokers))
    counts = Counter(wanted.name for wanted in request.brokers)
    results: list[TopicResult] = []
    steps: list[Step] = []
    for wanted in request.brokers:
        try:
            if counts[wanted.name] > 1:
                raise InvalidRequestError(
                    f"the request names broker {wanted.name[:100]!r} {counts[wanted.name]} times; "
                    "name it once"
                )
            broker_id = _broker_named(state, wanted)
            altered = _altered(_broker_owner(state, broker_id, rules), wanted)
        except OttlaError as error:
            results.append(TopicResult(name=wanted.name, error=error))
            continue
        results.append(TopicResult(name=wanted.name))
        if altered and not request.validate_only:
            if broker_id is None:
                steps.extend(_consequences_for_all(state, altered, rules))
            steps.append(
                tuple(
                    records.broker_config_changed(broker_id, key, value)
                    for key, value in altered.items()
                )
            )
    return decided(state, tuple(results), *steps)


# --- Who has settings ---------------------------------------------------------------


def _topic_owner(topic: TopicImage, rules: RuleBook) -> _Owner:
    return _Owner(
        title=f"topic {topic.name!r}",
        configs=topic.configs,
        topic_key=lambda key: topic_setting(key).key,
        inherited=lambda key: effective_value(
            key, topic_configs={}, broker_configs=rules.broker_configs
        ),
    )


def _broker_owner(state: MetadataState, broker_id: BrokerId | None, rules: RuleBook) -> _Owner:
    def topic_key(key: str) -> str | None:
        found = _changeable(key)
        if broker_id is not None and found in RULING_KEYS:
            raise InvalidConfigError(
                f"{key} cannot differ from broker to broker, for the controller elects leaders "
                "by it; change the default of all brokers"
            )
        return found

    return _Owner(
        title="all brokers" if broker_id is None else f"broker {broker_id}",
        configs=state.image.broker_configs.get(broker_id, {}),
        topic_key=topic_key,
        inherited=lambda key: effective_value(
            key, topic_configs={}, broker_configs=rules.broker_configs
        ),
    )


def _broker_named(state: MetadataState, wanted: ConfigChanges) -> BrokerId | None:
    if not wanted.name:
        return None
    if _BROKER_ID.fullmatch(wanted.name) is None:
        raise InvalidRequestError(
            f"{wanted.name[:100]!r} is no broker id; name a broker by its number, or all brokers "
            "by nothing"
        )
    broker_id = BrokerId(int(wanted.name))
    if broker_id not in state.image.brokers:
        raise BrokerIdNotRegisteredError(f"broker {broker_id} is not registered")
    return broker_id


def _changeable(key: str) -> str | None:
    """Return the topic setting whose default ``key`` is, if any; raises if nobody may change it."""
    if (row := SETTINGS.get(key)) is not None and row.dynamic:
        return _TOPIC_KEYS.get(key)
    if (unit := UNIT_ROWS.get(key)) is not None:
        raise InvalidConfigError(f"{key} is changed by {unit.means}, in milliseconds")
    if key in SETTINGS:
        raise InvalidConfigError(
            f"{key} cannot be changed while a broker runs; set it in the broker's configuration "
            "and start it again"
        )
    if key in INERT_SETTINGS:
        raise InvalidConfigError(f"{key} is a setting of topics; set it for each topic")
    if key in TOPIC_SETTINGS:
        raise InvalidConfigError(
            f"{key} is a setting of topics; the default for all topics is "
            f"{TOPIC_SETTINGS[key].synonym}"
        )
    raise InvalidConfigError(f"unknown setting {key[:100]!r}; docs/configuration.md lists them all")


# --- Changes ------------------------------------------------------------------------


def _altered(owner: _Owner, wanted: ConfigChanges) -> dict[str, str | None]:
    """Return what differs afterwards; ``None``: not set any more."""
    counts = Counter(change.key for change in wanted.changes)
    altered: dict[str, str | None] = {}
    if wanted.replaces:
        altered = dict.fromkeys(key for key in owner.configs if key not in counts)
    for change in wanted.changes:
        if counts[change.key] > 1:
            raise InvalidRequestError(
                f"the request changes {change.key[:100]!r} of {owner.title} "
                f"{counts[change.key]} times; change it once"
            )
        value = _new_value(owner, change)
        if value != owner.configs.get(change.key):
            altered[change.key] = value
    return altered


def _new_value(owner: _Owner, change: ConfigChange) -> str | None:
    """Return the canonical value that the change leads to; ``None``: there is none."""
    match change.operation:
        case ConfigOperation.SET:
            topic_key = owner.topic_key(change.key)
            if topic_key is None:
                return SETTINGS[change.key].canonical(change.value)
            return canonical_value(topic_key, change.value)
        case ConfigOperation.DELETE:
            # Whatever it is: it is not set afterwards. Tools take away settings that they may have
            # made, or that another cluster has, without a look at which there are here.
            return None
        case ConfigOperation.APPEND | ConfigOperation.SUBTRACT:
            return _edited_list(owner, change)


def _edited_list(owner: _Owner, change: ConfigChange) -> str:
    topic_key = owner.topic_key(change.key)
    if topic_key is None or topic_setting(topic_key).type is not SettingType.LIST:
        raise InvalidConfigError(
            f"{change.key} is no list, so nothing can be added to it or taken from it; set it"
        )
    own = owner.configs.get(change.key)
    present = split_list(owner.inherited(topic_key) if own is None else own)
    given = split_list(change.value)
    if change.operation is ConfigOperation.APPEND:
        # Kept in order, and each item once.
        items = tuple(dict.fromkeys((*present, *given)))
    else:
        items = tuple(item for item in present if item not in given)
    return canonical_value(topic_key, ",".join(items))


def _changed(configs: Mapping[str, str], altered: Mapping[str, str | None]) -> dict[str, str]:
    after = {**configs, **altered}
    return {key: value for key, value in after.items() if value is not None}


# --- What follows from them ---------------------------------------------------------


def _consequences(
    state: MetadataState,
    topic: TopicImage,
    altered: Mapping[str, str | None],
    rules: RuleBook,
) -> Iterator[Step]:
    if RULING_KEYS.isdisjoint(altered):
        return iter(())
    new_rules = rules.with_configs(_changed(topic.configs, altered))
    return topic_steps(topic, new_rules, _settle(state))


def _consequences_for_all(
    state: MetadataState, altered: Mapping[str, str | None], rules: RuleBook
) -> Iterator[Step]:
    if RULING_KEYS.isdisjoint(_TOPIC_KEYS.get(key, key) for key in altered):
        return iter(())
    image = state.image
    defaults = _changed(image.broker_configs.get(None, {}), altered)
    new_image = replace(image, broker_configs={**image.broker_configs, None: defaults})
    return partition_steps(state, rules.on(new_image), _settle(state))


def _settle(state: MetadataState) -> Change:
    available = available_brokers(state.image)
    return lambda partition, rules: settled(partition, partition, available=available, rules=rules)
