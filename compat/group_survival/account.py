"""What was wrong with a trial, from what everybody told.

======================  ===========================================================================
lost                    acknowledged to the producer, and nobody processed it
skipped                 an offset below the end of a partition that nobody processed
wrong place             a record was processed at another offset than it was written at, or at two
went back               somebody looked later and saw an older committed offset, or the log says so
commit not seen         a commit was acknowledged; somebody who looked later saw an older offset
committed too far       an offset was committed before somebody had processed all below it
not committed           at rest, what was committed is not the end
processed twice         a record was processed again, and no fault explains it
refused                 the producer was refused
======================  ===========================================================================

Times are of one clock. A record may be processed twice when a fault was under way, or one was over
since less than :data:`AFTERMATH_S`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from compat.group_survival.members import Event
from compat.group_survival.watching import Look

AFTERMATH_S: Final = 2.0

EXAMPLES_MAX: Final = 5

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Window:
    """A fault, from its beginning until the group was at rest again."""

    name: str
    began_s: float
    ended_s: float


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What everybody told."""

    acknowledged: Mapping[str, tuple[int, int | None]]
    """By value: partition, and offset if it is known."""
    refused: Sequence[str]
    events: Sequence[Event]
    looks: Sequence[Look]
    windows: Sequence[Window]
    logged: Mapping[int, Sequence[tuple[int, str]]]
    """By partition: the offsets that the group's log says, in order, and who committed each."""
    ends: Mapping[int, int]
    """By partition: the end of its records."""


@dataclass(slots=True)
class Account:
    """What was found."""

    counts: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def __str__(self) -> str:
        lines = [", ".join(f"{number} {name}" for name, number in self.counts.items())]
        for kind, examples in self.wrong.items():
            lines.append(f"{kind.upper()}: {len(examples)}")
            lines += [f"    {example}" for example in examples[:EXAMPLES_MAX]]
        return "\n".join(lines)


def judge(evidence: Evidence) -> Account:
    """Return what is wrong."""
    account = Account()
    processed = _processed(evidence)
    _check_places(evidence, processed, account)
    _check_skipped(evidence, processed, account)
    _check_twice(evidence, processed, account)
    _check_looks(evidence.looks, account)
    _check_commits(evidence, processed, account)
    _check_log(evidence, account)
    account.wrong.update({"refused": list(evidence.refused)} if evidence.refused else {})
    whats = [event.what for event in evidence.events]
    account.counts |= {
        "acknowledged": len(evidence.acknowledged),
        "processed": len(processed),
        "commits": whats.count("committed"),
        "commits refused": whats.count("not committed"),
        "assignments": whats.count("assigned"),
        "looks": len(evidence.looks),
    }
    return account


def _processed(evidence: Evidence) -> dict[Place, list[Event]]:
    processed: dict[Place, list[Event]] = defaultdict(list)
    for event in evidence.events:
        if event.what == "processed":
            processed[event.detail["partition"], event.detail["offset"]].append(event)
    for events in processed.values():
        events.sort(key=lambda event: event.at_s)
    return processed


def _check_places(
    evidence: Evidence, processed: Mapping[Place, Sequence[Event]], account: Account
) -> None:
    places: dict[str, set[Place]] = defaultdict(set)
    for place, events in processed.items():
        for event in events:
            places[event.detail["value"]].add(place)
    for value, (partition, offset) in evidence.acknowledged.items():
        where = f"partition {partition} offset {offset}"
        if value not in places:
            account.wrong["lost"].append(f"{value} at {where}")
        elif offset is not None and places[value] != {(partition, offset)}:
            account.wrong["wrong place"].append(f"{value} of {where} at {places[value]}")
    for value, found in places.items():
        if len(found) > 1:
            account.wrong["wrong place"].append(f"{value} at {found}")


def _check_skipped(
    evidence: Evidence, processed: Mapping[Place, Sequence[Event]], account: Account
) -> None:
    for partition, end in evidence.ends.items():
        for offset in range(end):
            if (partition, offset) not in processed:
                account.wrong["skipped"].append(_named((partition, offset)))


def _check_twice(
    evidence: Evidence, processed: Mapping[Place, Sequence[Event]], account: Account
) -> None:
    explained: dict[str, int] = defaultdict(int)
    for place, events in processed.items():
        for first, again in pairwise(events):
            window = _window_of(again.at_s, evidence.windows)
            if window is None:
                account.wrong["processed twice"].append(
                    f"{_named(place)} by {first.member} at {first.at_s:.3f} and by {again.member} "
                    f"at {again.at_s:.3f}"
                )
            else:
                explained[window.name] += 1
    account.counts |= {f"twice after '{name}'": number for name, number in explained.items()}


def _window_of(at_s: float, windows: Sequence[Window]) -> Window | None:
    for window in reversed(windows):
        if window.began_s <= at_s <= window.ended_s + AFTERMATH_S:
            return window
    return None


def _check_looks(looks: Sequence[Look], account: Account) -> None:
    for earlier, later in pairwise(looks):
        for partition, offset in later.committed.items():
            before = earlier.committed.get(partition, 0)
            if offset < before:
                account.wrong["went back"].append(
                    f"partition {partition} from {before} to {offset} at {later.ended_s:.3f}"
                )


def _check_commits(
    evidence: Evidence, processed: Mapping[Place, Sequence[Event]], account: Account
) -> None:
    began = [look.began_s for look in evidence.looks]
    highest: dict[int, int] = defaultdict(int)
    for event in sorted(evidence.events, key=lambda event: event.at_s):
        if event.what != "committed":
            continue
        for name, offset in event.detail["offsets"].items():
            partition = int(name)
            who = f"{event.member} committed {offset} of partition {partition} at {event.at_s:.3f}"
            index = bisect_left(began, event.at_s)
            if index < len(began):
                seen = evidence.looks[index].committed.get(partition, 0)
                if seen < offset:
                    account.wrong["commit not seen"].append(f"{who}; then it was {seen}")
            for below in range(highest[partition], offset):
                first = processed.get((partition, below))
                if first is None or first[0].at_s > event.at_s:
                    account.wrong["committed too far"].append(f"{who}, {below} not processed")
            highest[partition] = max(highest[partition], offset)


def _check_log(evidence: Evidence, account: Account) -> None:
    last = evidence.looks[-1].committed if evidence.looks else {}
    for partition, end in evidence.ends.items():
        logged = evidence.logged.get(partition, [(0, "nobody")])
        for earlier, later in pairwise(logged):
            if later[0] < earlier[0]:
                account.wrong["went back"].append(
                    f"in the log: partition {partition} from {earlier[0]} of {earlier[1]} to "
                    f"{later[0]} of {later[1]}"
                )
        if not last.get(partition, 0) == end == logged[-1][0]:
            account.wrong["not committed"].append(
                f"partition {partition} ends at {end}; {last.get(partition, 0)} is committed, and "
                f"{logged[-1][0]} is in the log"
            )


def _named(place: Place) -> str:
    return f"partition {place[0]} offset {place[1]}"
