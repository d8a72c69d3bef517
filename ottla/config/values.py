"""The kinds of value that a broker setting takes.

A kind knows two things: how to say what it takes, as the rest of a sentence that begins
"it takes", and the *canonical* form of a text, the one string that stands for all ways of writing
the same value; ``None`` where the text is no value at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from ottla.config.addresses import parse_address, parse_voters
from ottla.config.listeners import parse_listeners, parse_protocol_map, write_listeners
from ottla.config.topic_settings import INT64_MAX, TopicSetting, canonical_value

TEXT_CHARACTERS_MAX: Final = 256
"""The name of a rack travels with every answer to a request for metadata."""

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}\Z")


class Kind(Protocol):
    """What one setting takes."""

    @property
    def takes(self) -> str:
        """The rest of a sentence that begins "it takes"."""

    def canonical(self, text: str) -> str | None:
        """Return the one way to write ``text``, which has no blanks around it."""


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    @property
    def takes(self) -> str:
        return "true or false"

    def canonical(self, text: str) -> str | None:
        return text.lower() if text.lower() in {"true", "false"} else None


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number in a range."""

    minimum: int = 0
    maximum: int = INT64_MAX
    unit: str = ""

    @property
    def takes(self) -> str:
        unit = f", in {self.unit}" if self.unit else ""
        return f"a whole number from {self.minimum} to {self.maximum}{unit}"

    def canonical(self, text: str) -> str | None:
        # int() takes more than anyone means: "1_000", "+5", digits of other scripts.
        if _WHOLE_NUMBER.match(text) is None:
            return None
        return str(int(text)) if self.minimum <= int(text) <= self.maximum else None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words; or nothing, if ``optional``."""

    words: tuple[str, ...]
    optional: bool = False

    @property
    def takes(self) -> str:
        return f"one of {', '.join(self.words)}"

    def canonical(self, text: str) -> str | None:
        if not text and self.optional:
            return ""
        return text.lower() if text.lower() in self.words else None


@dataclass(frozen=True, slots=True)
class Text:
    """A short name, or nothing."""

    @property
    def takes(self) -> str:
        return f"up to {TEXT_CHARACTERS_MAX} printable characters"

    def canonical(self, text: str) -> str | None:
        return text if text.isprintable() and len(text) <= TEXT_CHARACTERS_MAX else None


@dataclass(frozen=True, slots=True)
class FilePath:
    """The path of a file or directory, or nothing; ``~`` is the home directory."""

    @property
    def takes(self) -> str:
        return "the path of a file or directory"

    def canonical(self, text: str) -> str | None:
        return None if "\0" in text else text


@dataclass(frozen=True, slots=True)
class HostPort:
    """An address; or nothing, if ``optional``."""

    optional: bool = False

    @property
    def takes(self) -> str:
        return "host:port, e.g. 127.0.0.1:7092 or [::1]:7092"

    def canonical(self, text: str) -> str | None:
        if not text and self.optional:
            return ""
        try:
            return str(parse_address(text))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Voters:
    """Nodes with addresses, as Kafka writes them: ``0@host:7092,1@other:7092``; or nothing."""

    @property
    def takes(self) -> str:
        """What a reader is told."""
        return "ID@HOST:PORT for each voter, separated by commas, each id and address once"

    def canonical(self, text: str) -> str | None:
        """See :class:`Kind`."""
        if not text:
            return ""
        try:
            voters = parse_voters(text)
        except ValueError:
            return None
        return ",".join(f"{node_id}@{address}" for node_id, address in voters.items())


@dataclass(frozen=True, slots=True)
class Listeners:
    """Names with addresses, as Kafka writes them: ``LAN://host:9092,NET://host:9093``; or none."""

    @property
    def takes(self) -> str:
        """What a reader is told."""
        return "NAME://HOST:PORT for each listener, separated by commas, each name once"

    def canonical(self, text: str) -> str | None:
        """See :class:`Kind`."""
        try:
            return write_listeners(parse_listeners(text))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class ProtocolMap:
    """What each listener speaks, as Kafka writes it: ``LAN:PLAINTEXT,NET:SSL``; or nothing."""

    @property
    def takes(self) -> str:
        """What a reader is told."""
        return "NAME:PROTOCOL for each listener, separated by commas; protocols: PLAINTEXT, SSL"

    def canonical(self, text: str) -> str | None:
        """See :class:`Kind`."""
        try:
            protocols = parse_protocol_map(text)
        except ValueError:
            return None
        return ",".join(f"{name}:{protocol}" for name, protocol in protocols.items())


@dataclass(frozen=True, slots=True)
class TopicDefault:
    """Whatever a topic setting takes; raises that setting's own sentence instead of ``None``."""

    row: TopicSetting
    """Of the topic setting, under the broker's key."""
    topic_key: str

    @property
    def takes(self) -> str:
        return self.row.takes

    def canonical(self, text: str) -> str | None:
        self.row.parse(text)  # refuses in the broker's words
        return canonical_value(self.topic_key, text)


@dataclass(frozen=True, slots=True)
class Multiple:
    """A number in a unit coarser than that of the setting it stands for."""

    of: TopicDefault
    unit: str
    unit_ms: int

    @property
    def _number(self) -> Number:
        return Number(self.of.row.minimum, INT64_MAX // self.unit_ms, self.unit)

    @property
    def takes(self) -> str:
        return self._number.takes

    def canonical(self, text: str) -> str | None:
        """Return the value in milliseconds; -1, which means no limit, stays what it is."""
        if (number := self._number.canonical(text)) is None:
            return None
        return number if int(number) < 0 else str(int(number) * self.unit_ms)
