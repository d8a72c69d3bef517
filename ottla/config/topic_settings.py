"""The one table of topic settings: what each is called, what it takes and what it means.

Keys, defaults and ranges are Kafka's where the meaning is Kafka's, so that a tool made for
Kafka can set them and read them back. ``write.caching`` is ours; Redpanda has it by this name.

A value travels as text: in requests, in the metadata log, in answers. The text is *canonical*
once :func:`canonical_value` has seen it (``" TRUE"`` becomes ``true``), so that two equal
settings are equal strings. It becomes a number in one place, :func:`resolve_topic_settings`,
where three sources meet, the nearest first:

1. the topic's own setting, which the metadata log holds;
2. the broker's setting of the name in :attr:`TopicSetting.synonym`, e.g. ``log.retention.ms``;
3. the default in this table.

Whatever refuses a value raises :exc:`~ottla.model.errors.InvalidConfigError` with the key, the
value given and the values it takes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ottla.model.errors import InvalidConfigError
from ottla.model.limits import BATCH_BYTES_MAX, MIB

Value = bool | int | float | str | tuple[str, ...]
"""What the text of a setting stands for."""

INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1


class SettingType(Enum):
    """Kafka's types of settings; a describing tool prints them."""

    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    STRING = "string"
    LIST = "list"
    DOUBLE = "double"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSetting:
    """One row of the table."""

    key: str
    type: SettingType
    default: str
    """In canonical form."""
    synonym: str
    """The broker setting that gives the default of topics which do not set ``key``; empty: none.
    """
    documentation: str
    """Effect and unit, in one or two sentences."""
    unit: str = ""
    """``ms``, ``bytes``, ``records`` or ``replicas``; empty where there is none."""
    minimum: int = 0
    maximum: int = INT64_MAX
    choices: tuple[str, ...] = ()
    """Of a string, a flag, or of each item of a list; empty for a flag: both."""
    unserved: str = ""
    """Why this version takes fewer values than Kafka does, as a sentence; empty: it does not."""

    @property
    def takes(self) -> str:
        """The values it takes, as the rest of a sentence that begins "it takes"."""
        if self.unserved:
            return f"{self.default or 'nothing'} only: {self.unserved}"
        match self.type:
            case SettingType.BOOLEAN:
                return "true or false"
            case SettingType.STRING:
                return f"one of {', '.join(self.choices)}"
            case SettingType.LIST:
                return f"nothing, or a comma-separated list of {', '.join(self.choices)}"
            case SettingType.INT | SettingType.LONG:
                unit = f", in {self.unit}" if self.unit else ""
                return f"a whole number from {self.minimum} to {self.maximum}{unit}"
            case SettingType.DOUBLE:
                return f"a number from {self.minimum} to {self.maximum}"

    def parse(self, text: str) -> Value:
        """Return what ``text`` stands for; :exc:`InvalidConfigError` if it is not a value."""
        text = text.strip()
        value: Value | None
        match self.type:
            case SettingType.BOOLEAN:
                value = {"true": True, "false": False}.get(text.lower())
                if self.choices and text.lower() not in self.choices:
                    value = None
            case SettingType.STRING:
                value = text if text in self.choices else None
            case SettingType.LIST:
                value = self._parse_list(text)
            case SettingType.INT | SettingType.LONG:
                value = self._parse_number(text)
            case SettingType.DOUBLE:
                value = self._parse_fraction(text)
        if value is None:
            raise InvalidConfigError(f"{self.key} cannot be {_shown(text)}: it takes {self.takes}")
        return value

    def _parse_list(self, text: str) -> tuple[str, ...] | None:
        items = split_list(text)
        legal = all(item in self.choices for item in items)
        return items if legal and len(set(items)) == len(items) else None

    def _parse_number(self, text: str) -> int | None:
        # int() takes more than anyone means: "1_000", "+5", digits of other scripts.
        if _WHOLE_NUMBER.match(text) is None:
            return None
        number = int(text)
        return number if self.minimum <= number <= self.maximum else None

    def _parse_fraction(self, text: str) -> float | None:
        if _FRACTION.match(text) is None:
            return None
        number = float(text)
        return number if self.minimum <= number <= self.maximum else None


def split_list(text: str) -> tuple[str, ...]:
    """Split the text of a list setting; empty text is the empty list."""
    return tuple(item.strip() for item in text.split(",")) if text.strip() else ()


def _shown(text: str) -> str:
    """Quote text that came with a request, which may be of any length."""
    cut = text if len(text) <= _CHARACTERS_SHOWN else text[:_CHARACTERS_SHOWN] + "..."
    return repr(cut)


_CHARACTERS_SHOWN = 100
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}\Z")
_FRACTION = re.compile(r"[0-9]{1,19}(\.[0-9]{0,19})?([eE][-+]?[0-9]{1,2})?\Z")

_ROWS: Final = (
    TopicSetting(
        key="cleanup.policy",
        type=SettingType.LIST,
        default="delete",
        choices=("delete", "compact"),
        synonym="log.cleanup.policy",
        documentation="What becomes of old segments: delete removes those beyond retention.ms or "
        "retention.bytes. compact says that only the last record of each key matters: records need "
        "keys then, and without delete nothing is removed by age or size; this version does not "
        "compact yet, so such topics grow. An empty value keeps everything for ever.",
    ),
    TopicSetting(
        key="compression.type",
        type=SettingType.STRING,
        default="producer",
        choices=("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
        synonym="compression.type",
        documentation="How batches are stored: as their producer compressed them (producer), or "
        "recompressed by the broker, which costs it far more time than any other setting here.",
    ),
    TopicSetting(
        key="file.delete.delay.ms",
        type=SettingType.LONG,
        default="60000",
        unit="ms",
        synonym="log.segment.delete.delay.ms",
        documentation="How long the files of a removed segment or topic stay on disk, so that "
        "reads under way can finish.",
    ),
    TopicSetting(
        key="flush.messages",
        type=SettingType.LONG,
        default=str(INT64_MAX),
        minimum=1,
        unit="records",
        synonym="log.flush.interval.messages",
        documentation="Sync the log to disk when this many records are not yet synced. Matters "
        "with write.caching only: without it every append is synced as soon as the disk can.",
    ),
    TopicSetting(
        key="flush.ms",
        type=SettingType.LONG,
        default=str(INT64_MAX),
        unit="ms",
        synonym="log.flush.interval.ms",
        documentation="Sync the log to disk when its oldest unsynced record has waited this "
        "long. Matters with write.caching only.",
    ),
    TopicSetting(
        key="index.interval.bytes",
        type=SettingType.INT,
        default="4096",
        maximum=INT32_MAX,
        unit="bytes",
        synonym="log.index.interval.bytes",
        documentation="Bytes of the log between two entries of its indexes: less makes lookups "
        "read less and indexes larger.",
    ),
    TopicSetting(
        key="max.message.bytes",
        type=SettingType.INT,
        default="1048588",
        maximum=INT32_MAX,
        unit="bytes",
        synonym="message.max.bytes",
        documentation="Largest record batch that a producer may send, as compressed. A request "
        f"holds at most {BATCH_BYTES_MAX} bytes, whatever this says.",
    ),
    TopicSetting(
        key="message.timestamp.after.max.ms",
        type=SettingType.LONG,
        default="3600000",
        unit="ms",
        synonym="log.message.timestamp.after.max.ms",
        documentation="How far a record's timestamp may be ahead of the broker's clock. Ignored "
        "with message.timestamp.type=LogAppendTime.",
    ),
    TopicSetting(
        key="message.timestamp.before.max.ms",
        type=SettingType.LONG,
        default=str(INT64_MAX),
        unit="ms",
        synonym="log.message.timestamp.before.max.ms",
        documentation="How far a record's timestamp may be behind the broker's clock. Ignored "
        "with message.timestamp.type=LogAppendTime.",
    ),
    TopicSetting(
        key="message.timestamp.type",
        type=SettingType.STRING,
        default="CreateTime",
        choices=("CreateTime", "LogAppendTime"),
        synonym="log.message.timestamp.type",
        documentation="Whether a record keeps the timestamp of its producer (CreateTime) or gets "
        "the broker's when it is appended (LogAppendTime).",
    ),
    TopicSetting(
        key="min.insync.replicas",
        type=SettingType.INT,
        default="1",
        minimum=1,
        maximum=INT32_MAX,
        unit="replicas",
        synonym="min.insync.replicas",
        documentation="In-sync replicas, the leader included, that a write with acks=all needs; "
        "with fewer it is refused, and nothing written becomes visible to consumers.",
    ),
    TopicSetting(
        key="retention.bytes",
        type=SettingType.LONG,
        default="-1",
        minimum=-1,
        unit="bytes",
        synonym="log.retention.bytes",
        documentation="Size of one partition above which its oldest segments are deleted; -1 "
        "means any size.",
    ),
    TopicSetting(
        key="retention.ms",
        type=SettingType.LONG,
        default="604800000",
        minimum=-1,
        unit="ms",
        synonym="log.retention.ms",
        documentation="Age of a segment's newest record above which the segment is deleted; -1 "
        "means any age.",
    ),
    TopicSetting(
        key="segment.bytes",
        type=SettingType.INT,
        default=str(1024 * MIB),
        minimum=MIB,
        maximum=INT32_MAX,
        unit="bytes",
        synonym="log.segment.bytes",
        documentation="Size at which a segment is closed and the next one begun. Whole segments "
        "are deleted, never parts.",
    ),
    TopicSetting(
        key="segment.index.bytes",
        type=SettingType.INT,
        default=str(10 * MIB),
        # One entry of the time index. Kafka starts at 4, which holds no entry of any index.
        minimum=12,
        maximum=INT32_MAX,
        unit="bytes",
        synonym="log.index.size.max.bytes",
        documentation="Size of an index at which its segment is closed and the next one begun.",
    ),
    TopicSetting(
        key="segment.ms",
        type=SettingType.LONG,
        default="604800000",
        minimum=1,
        unit="ms",
        synonym="log.roll.ms",
        documentation="Age at which a segment is closed even if it is not full, so that "
        "retention can delete it.",
    ),
    TopicSetting(
        key="unclean.leader.election.enable",
        type=SettingType.BOOLEAN,
        default="false",
        synonym="unclean.leader.election.enable",
        documentation="true: if no replica that has every acknowledged record is alive, another "
        "one leads and what it lacks is lost; false: the partition waits for one that has "
        "everything.",
    ),
    TopicSetting(
        key="write.caching",
        type=SettingType.BOOLEAN,
        default="false",
        synonym="log.write.caching",
        documentation="true: a write with acks=all is acknowledged when every in-sync replica "
        "has it in memory, as Kafka does; false: when every one has it synced to disk.",
    ),
)

TOPIC_SETTINGS: Final[Mapping[str, TopicSetting]] = {row.key: row for row in _ROWS}
"""By key, in alphabetical order."""

_INERT_ROWS: Final = tuple(
    sorted(
        (
            *(
                TopicSetting(
                    key=f"compression.{codec}.level",
                    type=SettingType.INT,
                    default=level,
                    minimum=int(level),
                    maximum=int(level),
                    synonym="",
                    documentation=f"How hard the broker works where compression.type is {codec}.",
                    unserved="the broker compresses at one level",
                )
                for codec, level in (("gzip", "-1"), ("lz4", "9"), ("zstd", "3"))
            ),
            *(
                TopicSetting(
                    key=f"{role}.replication.throttled.replicas",
                    type=SettingType.LIST,
                    default="",
                    synonym="",
                    documentation="Replicas whose copying is held back by the broker's rate of "
                    "the same beginning.",
                    unserved="follower.replication.throttled.rate of a broker holds back all of "
                    "its replicas that are not in sync",
                )
                for role in ("follower", "leader")
            ),
            *(
                TopicSetting(
                    key=key,
                    type=SettingType.BOOLEAN,
                    default="false",
                    choices=("false",),
                    synonym="",
                    documentation=documentation,
                    unserved=why,
                )
                for key, documentation, why in (
                    (
                        "preallocate",
                        "Whether the file of a new segment is given its whole size at once.",
                        "files grow as they are written",
                    ),
                    (
                        "remote.storage.enable",
                        "Whether old segments are moved to remote storage.",
                        "this version has no remote storage",
                    ),
                    (
                        "remote.log.copy.disable",
                        "Whether no more segments are moved to remote storage.",
                        "this version has no remote storage",
                    ),
                    (
                        "remote.log.delete.on.disable",
                        "Whether what is in remote storage goes when that is disabled.",
                        "this version has no remote storage",
                    ),
                )
            ),
            *(
                TopicSetting(
                    key=f"local.retention.{unit}",
                    type=SettingType.LONG,
                    default="-2",
                    minimum=-2,
                    maximum=-2,
                    unit=unit,
                    synonym="",
                    documentation=f"What is kept here of a log with remote storage; -2 is "
                    f"retention.{unit}.",
                    unserved="this version has no remote storage",
                )
                for unit in ("bytes", "ms")
            ),
            TopicSetting(
                key="segment.jitter.ms",
                type=SettingType.LONG,
                default="0",
                maximum=0,
                unit="ms",
                synonym="",
                documentation="What segment.ms is shortened by at most, at random.",
                unserved="segments are closed when segment.ms says so",
            ),
            TopicSetting(
                key="delete.retention.ms",
                type=SettingType.LONG,
                default="86400000",
                unit="ms",
                synonym="",
                documentation="How long a compacted topic remembers that a key was deleted. This "
                "version does not compact yet, and ignores it.",
            ),
            TopicSetting(
                key="max.compaction.lag.ms",
                type=SettingType.LONG,
                default=str(INT64_MAX),
                minimum=1,
                unit="ms",
                synonym="",
                documentation="How long a record of a compacted topic may wait for compaction. "
                "This version does not compact yet, and ignores it.",
            ),
            TopicSetting(
                key="min.compaction.lag.ms",
                type=SettingType.LONG,
                default="0",
                unit="ms",
                synonym="",
                documentation="How long a record of a compacted topic is safe from compaction. "
                "This version does not compact yet, and ignores it.",
            ),
            TopicSetting(
                key="min.cleanable.dirty.ratio",
                type=SettingType.DOUBLE,
                default="0.5",
                maximum=1,
                synonym="",
                documentation="How much of a compacted topic is written anew before it is "
                "compacted. This version does not compact yet, and ignores it.",
            ),
        ),
        key=lambda row: row.key,
    )
)

INERT_SETTINGS: Final[Mapping[str, TopicSetting]] = {row.key: row for row in _INERT_ROWS}
"""Settings of Kafka that change nothing here, by key: tools look for them, and some set them.

A value that would have to change something is refused. None of them has a broker setting.
"""

_KAFKA_HAS_AND_WE_DO_NOT = frozenset(
    {
        "errors.deadletterqueue.group.enable",
        "message.downconversion.enable",
        "message.format.version",
        "message.timestamp.difference.max.ms",
        "remote.copy.lag.bytes",
        "remote.copy.lag.ms",
    }
)


def topic_setting(key: str) -> TopicSetting:
    """Return the row of ``key``; an unknown one raises, naming the nearest that there is."""
    setting = TOPIC_SETTINGS.get(key) or INERT_SETTINGS.get(key)
    if setting is not None:
        return setting
    if key in _KAFKA_HAS_AND_WE_DO_NOT:
        raise InvalidConfigError(f"this version does not have Kafka's topic setting {key}")
    # Comparing with a key of megabytes, which a request may hold, would take seconds.
    nearest = difflib.get_close_matches(key[:_CHARACTERS_SHOWN], TOPIC_SETTINGS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(TOPIC_SETTINGS)}"
    raise InvalidConfigError(f"unknown topic setting {_shown(key)}; {hint}")


def canonical_value(key: str, text: str) -> str:
    """Check ``text`` as the value of ``key`` and return its canonical form.

    Raises :exc:`InvalidConfigError` for an unknown key or a value that it does not take.
    """
    value = topic_setting(key).parse(text)
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def canonical_values(configs: Mapping[str, str]) -> dict[str, str]:
    """Check several settings; the first bad one in alphabetical order raises."""
    return {key: canonical_value(key, configs[key]) for key in sorted(configs)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """Every setting of one topic as a number: what the broker works with.

    A field is a key of the table with underscores; :data:`TOPIC_SETTINGS` documents it.
    """

    cleanup_policy: tuple[str, ...]
    compression_type: str
    file_delete_delay_ms: int
    flush_messages: int
    flush_ms: int
    index_interval_bytes: int
    max_message_bytes: int
    message_timestamp_after_max_ms: int
    message_timestamp_before_max_ms: int
    message_timestamp_type: str
    min_insync_replicas: int
    retention_bytes: int
    """-1: any size."""
    retention_ms: int
    """-1: any age."""
    segment_bytes: int
    segment_index_bytes: int
    segment_ms: int
    unclean_leader_election_enable: bool
    write_caching: bool


def effective_value(
    key: str, *, topic_configs: Mapping[str, str], broker_configs: Mapping[str, str]
) -> str:
    """Return the text that counts for ``key``: the topic's, else the broker's, else the default.

    ``broker_configs`` is by broker key (:attr:`TopicSetting.synonym`) and may hold others too.
    """
    setting = topic_setting(key)
    text = topic_configs.get(key)
    return broker_configs.get(setting.synonym, setting.default) if text is None else text


def resolve_topic_settings(
    topic_configs: Mapping[str, str], broker_configs: Mapping[str, str]
) -> TopicSettings:
    """Return every setting of a topic as a number.

    ``topic_configs`` is by topic key, ``broker_configs`` by broker key. Raises
    :exc:`InvalidConfigError` for a value that was not checked before it got here.
    """
    values: dict[str, Value] = {}
    for setting in TOPIC_SETTINGS.values():  # the others change nothing
        text = effective_value(
            setting.key, topic_configs=topic_configs, broker_configs=broker_configs
        )
        values[setting.key.replace(".", "_")] = setting.parse(text)
    # Each row parses to the type that its field declares; a test holds the two together.
    return TopicSettings(**values)  # type: ignore[arg-type]
