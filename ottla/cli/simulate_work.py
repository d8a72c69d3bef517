"""Plays seeds one after another and tells what became of them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from ottla.cli.failure import CommandError
from ottla.cli.output import say
from ottla.simulation.planted_faults import PLANTED_FAULTS
from ottla.simulation.scenario import USUAL, Outcome, Profile, run_seed
from ottla.simulation.world import Noted

LAST_EVENTS_SHOWN: Final = 60
PROGRESS_EVERY_S: Final = 20.0
_HOUR_MS: Final = 3_600_000


def play(seeds: Sequence[int], *, verbose: bool, fault: str | None) -> int:
    """Play all seeds; return 1 if any of them broke a promise."""
    if fault == "list":
        for name, planted in PLANTED_FAULTS.items():
            print(f"{name}\t{planted.what}")
        return 0
    profile = _profile(fault)
    outcomes: list[Outcome] = []
    told_at = time.monotonic()
    for number, seed in enumerate(seeds, start=1):
        outcome = run_seed(seed, profile)
        outcomes.append(outcome)
        if outcome.violation is not None:
            _tell_failure(outcome, fault)
        elif verbose:
            _show(outcome.last_events)
            print(
                f"seed {seed}: {outcome.virtual_ms / 1000:.1f} virtual seconds, "
                f"{outcome.events} events, digest {outcome.digest:08x}"
            )
        if time.monotonic() - told_at > PROGRESS_EVERY_S:
            told_at = time.monotonic()
            say(f"{number} of {len(seeds)} seeds")
    failed = [outcome for outcome in outcomes if outcome.violation is not None]
    print(summary(outcomes))
    return 1 if failed else 0


def summary(outcomes: Sequence[Outcome]) -> str:
    """Say in one line what all seeds together were."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.counts)
    failed = sum(outcome.violation is not None for outcome in outcomes)
    events = sum(outcome.events for outcome in outcomes)
    hours = sum(outcome.virtual_ms for outcome in outcomes) / _HOUR_MS
    acknowledged = sum(outcome.acknowledged for outcome in outcomes)
    return (
        f"{len(outcomes)} seed{'s' * (len(outcomes) != 1)}, {failed} failed: "
        f"{events:,} events in {hours:.2f} virtual hours, "
        f"{counts['kills']:,} kills, {counts['partitions']:,} partitions, "
        f"{acknowledged:,} records acknowledged by all"
    )


def _profile(fault: str | None) -> Profile:
    if fault is None:
        return USUAL
    planted = PLANTED_FAULTS.get(fault)
    if planted is None:
        raise CommandError(f"there is no fault {fault!r} to plant; 'list' shows those there are")
    return planted.profile


def _tell_failure(outcome: Outcome, fault: str | None) -> None:
    _show(outcome.last_events[-LAST_EVENTS_SHOWN:])
    planted = "" if fault is None else f" --fault {fault}"
    print(f"seed {outcome.seed} failed after {outcome.virtual_ms / 1000:.3f} virtual seconds:")
    print(f"  {outcome.violation}")
    print(f"play it again: ottla simulate --seeds {outcome.seed}-{outcome.seed}{planted}")
    sys.stdout.flush()


def _show(events: Sequence[Noted]) -> None:
    for event in events:
        print(event)
