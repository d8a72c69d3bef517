"""What clients did and saw, and whether a commit log may look like that.

The questions are those that Jepsen asks of Kafka-like systems. Every value that is sent is
different from every other, so a value in the log says who sent it and when:

======================  ===========================================================================
inconsistent offset     two values were seen at one offset
duplicate               one value was seen at two offsets
lost                    acknowledged, later records of its partition were read, and it never was
unseen                  acknowledged, and not read by the end, with nothing after it either
reordered               a producer's later record lies before its earlier one
skipped, went back      one consumer was given offsets with a hole, or not in rising order
aborted read            a record that was refused for good, and is in the log
never sent              a value that nobody sent
======================  ===========================================================================

A send whose outcome is unknown -- its deadline passed -- may be in the log or not, once at most.
Nothing here runs a client: :mod:`ottla.testing.workload` does, and fills a :class:`History`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Final, NamedTuple

EXAMPLES_MAX: Final = 5
"""Of each kind of finding: enough to look into it."""


class Outcome(Enum):
    """What a producer was told of a record."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """It is certain that it was not appended."""
    UNKNOWN = "unknown"


class Sent(NamedTuple):
    """One record that a producer sent."""

    producer: int
    number: int
    """Rises with every record of the producer."""
    value: bytes
    partition: int
    offset: int
    """-1 if it is not known."""
    outcome: Outcome


class Polled(NamedTuple):
    """One record that a consumer was given."""

    consumer: str
    partition: int
    offset: int
    value: bytes


@dataclass(slots=True)
class History:
    """Everything that happened, in the order in which each client saw it."""

    sent: list[Sent] = field(default_factory=list)
    polled: list[Polled] = field(default_factory=list)
    acknowledged_at_s: list[float] = field(default_factory=list)
    """When acknowledgements arrived, by a clock that does not go back."""
    acknowledged_of_s: dict[int, float] = field(default_factory=dict)
    """By partition: when the latest of its acknowledged records was sent."""

    def acknowledged(self, partition: int, *, sent_s: float, at_s: float) -> None:
        """Note that a record was acknowledged."""
        self.acknowledged_at_s.append(at_s)
        self.acknowledged_of_s[partition] = max(sent_s, self.acknowledged_of_s.get(partition, 0.0))

    def longest_silence_s(self) -> float:
        """Return the longest time between two acknowledgements."""
        times = self.acknowledged_at_s
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    def longest_silence_after_s(self, moment_s: float) -> float:
        """Return the longest time without an acknowledgement that began after ``moment_s``."""
        return max(
            (
                later - max(earlier, moment_s)
                for earlier, later in pairwise(self.acknowledged_at_s)
                if later > moment_s
            ),
            default=0.0,
        )

    def silence_after_s(self, moment_s: float) -> float | None:
        """Return how long after ``moment_s`` the next acknowledgement came; ``None``: never."""
        later = [at for at in self.acknowledged_at_s if at > moment_s]
        return min(later) - moment_s if later else None


@dataclass(slots=True)
class Findings:
    """What a history has that it must not have, with examples, and how much of everything."""

    counts: Mapping[str, int]
    wrong: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def count(self, kind: str) -> int:
        """Return how often something of a kind was found."""
        return len(self.wrong.get(kind, ()))

    def table(self) -> str:
        """Return the account as lines of text."""
        rows = {name: f"{number:,}" for name, number in self.counts.items()}
        rows |= {kind: f"{self.count(kind):,}" for kind in KINDS}
        width = max(map(len, rows))
        lines = [f"  {name:<{width}}  {value:>12}" for name, value in rows.items()]
        for kind, examples in self.wrong.items():
            lines += [f"  {kind}: {example}" for example in examples[:EXAMPLES_MAX]]
        return "\n".join(lines)


KINDS: Final = (
    "lost",
    "duplicated",
    "reordered",
    "inconsistent offset",
    "unseen",
    "skipped",
    "went back",
    "aborted read",
    "never sent",
)


def check(history: History) -> Findings:
    """Return what is wrong with a history whose last reader read everything there is."""
    wrong: dict[str, list[str]] = defaultdict(list)
    value_at, offsets_of = _where(history.polled, wrong)
    sent = {record.value: record for record in history.sent}
    _check_values(sent, offsets_of, wrong)
    _check_acknowledged(history.sent, value_at, offsets_of, wrong)
    _check_order_of_producers(history.sent, offsets_of, wrong)
    _check_order_of_consumers(history.polled, wrong)
    outcomes = [record.outcome for record in history.sent]
    return Findings(
        counts={
            "sent": len(outcomes),
            "acknowledged": outcomes.count(Outcome.ACKNOWLEDGED),
            "outcome unknown": outcomes.count(Outcome.UNKNOWN),
            "refused": outcomes.count(Outcome.REFUSED),
            "read": len(value_at),
        },
        wrong=dict(wrong),
    )


Place = tuple[int, int]
"""Partition and offset."""


def _where(
    polled: Iterable[Polled], wrong: dict[str, list[str]]
) -> tuple[dict[Place, bytes], dict[bytes, list[Place]]]:
    value_at: dict[Place, bytes] = {}
    offsets_of: dict[bytes, list[Place]] = defaultdict(list)
    for poll in polled:
        place = (poll.partition, poll.offset)
        known = value_at.get(place)
        if known is None:
            value_at[place] = poll.value
            offsets_of[poll.value].append(place)
        elif known != poll.value:
            wrong["inconsistent offset"].append(
                f"{_named(place)} is {known!r} and, for {poll.consumer}, {poll.value!r}"
            )
    return value_at, offsets_of


def _check_values(
    sent: Mapping[bytes, Sent],
    offsets_of: Mapping[bytes, list[Place]],
    wrong: dict[str, list[str]],
) -> None:
    for value, places in offsets_of.items():
        record = sent.get(value)
        if record is None:
            wrong["never sent"].append(f"{value!r} at {_named(places[0])}")
            continue
        if len(places) > 1:
            wrong["duplicated"].append(f"{value!r} at {', '.join(map(_named, places))}")
        if record.outcome is Outcome.REFUSED:
            wrong["aborted read"].append(f"{value!r} at {_named(places[0])}")


def _check_acknowledged(
    sent: Iterable[Sent],
    value_at: Mapping[Place, bytes],
    offsets_of: Mapping[bytes, list[Place]],
    wrong: dict[str, list[str]],
) -> None:
    last: dict[int, int] = {}
    for partition, offset in value_at:
        last[partition] = max(offset, last.get(partition, -1))
    for record in sent:
        if record.outcome is not Outcome.ACKNOWLEDGED:
            continue
        places = offsets_of.get(record.value, [])
        if not places:
            read_past = last.get(record.partition, -1) > record.offset >= 0
            kind = "lost" if read_past else "unseen"
            wrong[kind].append(f"{record.value!r} acknowledged at {_place_of(record)}")
        elif record.offset >= 0 and (record.partition, record.offset) not in places:
            wrong["inconsistent offset"].append(
                f"{record.value!r} acknowledged at {_place_of(record)}, read at {_named(places[0])}"
            )


def _check_order_of_producers(
    sent: Iterable[Sent], offsets_of: Mapping[bytes, list[Place]], wrong: dict[str, list[str]]
) -> None:
    before: dict[tuple[int, int], tuple[int, bytes]] = {}
    for record in sorted(sent, key=lambda record: (record.producer, record.number)):
        for partition, offset in offsets_of.get(record.value, ())[:1]:
            earlier = before.get((record.producer, partition))
            if earlier is not None and offset <= earlier[0]:
                wrong["reordered"].append(
                    f"{record.value!r} at {_named((partition, offset))}, but {earlier[1]!r}, sent "
                    f"before, at {earlier[0]}"
                )
            before[record.producer, partition] = (offset, record.value)


def _check_order_of_consumers(polled: Iterable[Polled], wrong: dict[str, list[str]]) -> None:
    at: dict[tuple[str, int], int] = {}
    for poll in polled:
        before = at.get((poll.consumer, poll.partition))
        if before is not None and poll.offset != before + 1:
            kind = "skipped" if poll.offset > before else "went back"
            wrong[kind].append(
                f"{poll.consumer} was given {poll.offset} after {before} of partition "
                f"{poll.partition}"
            )
        at[poll.consumer, poll.partition] = poll.offset


def _named(place: Place) -> str:
    return f"partition {place[0]} offset {place[1]}"


def _place_of(record: Sent) -> str:
    return _named((record.partition, record.offset))
