"""What a topic's settings mean to the controller: how many must be in sync, what may be lost.

Three settings decide on elections (:mod:`ottla.controller.elections`). Each is looked up in the
topic first, then in the default that the cluster has for all brokers, which the metadata log
holds, then in the configuration of the broker that is the controller. The leader of a partition
looks them up in its own configuration in the last place. If brokers differ there, a leader may
commit with fewer replicas in sync than the controller believes, and an eligible replica lack a
committed record. So the last place has to say the same on all brokers; the cluster's default,
which cannot differ, is the better one to use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ottla.config.topic_settings import TOPIC_SETTINGS, effective_value
from ottla.model.image import ClusterImage, TopicImage

_MIN_INSYNC_REPLICAS: Final = "min.insync.replicas"
_UNCLEAN_ELECTIONS: Final = "unclean.leader.election.enable"
_WRITE_CACHING: Final = "write.caching"

RULING_KEYS: Final = frozenset({_MIN_INSYNC_REPLICAS, _UNCLEAN_ELECTIONS, _WRITE_CACHING})
"""The topic settings that elections depend on."""


class TopicRules(NamedTuple):
    """What elections of one topic go by."""

    min_insync_replicas: int = 1
    unclean_elections: bool = False
    write_caching: bool = False


class RuleBook:
    """The rules of every topic of a cluster."""

    def __init__(self, image: ClusterImage, broker_configs: Mapping[str, str]) -> None:
        """Read ``image`` and, for what it does not say, ``broker_configs``, by broker key."""
        self._static = broker_configs
        self._broker_configs = image.settings_of_broker(None, broker_configs)
        self._of_topics_without_settings = self.with_configs({})

    @property
    def broker_configs(self) -> Mapping[str, str]:
        """What counts for topics that do not say it themselves, by broker key."""
        return self._broker_configs

    def on(self, image: ClusterImage) -> RuleBook:
        """Return the rules that there are with another image."""
        return RuleBook(image, self._static)

    def of(self, topic: TopicImage) -> TopicRules:
        """Return the rules of ``topic``."""
        if RULING_KEYS.isdisjoint(topic.configs):
            return self._of_topics_without_settings
        return self.with_configs(topic.configs)

    def with_configs(self, topic_configs: Mapping[str, str]) -> TopicRules:
        """Return the rules of a topic that has these settings, by topic key."""

        def value(key: str) -> object:
            text = effective_value(
                key, topic_configs=topic_configs, broker_configs=self._broker_configs
            )
            return TOPIC_SETTINGS[key].parse(text)

        min_insync_replicas = value(_MIN_INSYNC_REPLICAS)
        assert isinstance(min_insync_replicas, int), min_insync_replicas
        return TopicRules(
            min_insync_replicas=min_insync_replicas,
            unclean_elections=value(_UNCLEAN_ELECTIONS) is True,
            write_caching=value(_WRITE_CACHING) is True,
        )
