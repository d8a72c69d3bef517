"""What a node does with the entries that a leader sends: a pure decision.

The rules are those of figure 2 of the Raft paper, AppendEntries receiver, 2 to 5, with what
the paper leaves to the reader spelled out:

* Only a *conflict* takes entries back. An append that is late, repeated, or shorter than the
  log is not a conflict: what follows it stays, for it may have been acknowledged.
* What is committed is never taken back. If the leader wants that, one of the two is broken,
  and the node stops.
* What the log no longer reaches back to is in a snapshot, hence committed, hence equal.
* A refusal names where to go on, in one step: after our last entry if that entry is of the
  leader's own term (then the leader made it, and everything before it is equal), otherwise
  after what is committed, which every leader has.

::

    log       41/3 42/3 43/4          committed 41, index/term
    append    previous 42/3, [43/5]   take back from 43, append 43/5
    append    previous 42/3, []       agree up to 42; 43/4 stays
    append    previous 42/4, ...      refuse, go on at 42
    append    previous 45/5, ...      refuse, go on at 42
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ottla.controller.raft.messages import AppendRequest, Entry


class LogView(Protocol):
    """What the decision needs to know of the log."""

    @property
    def base_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def last_term(self) -> int: ...
    @property
    def commit_index(self) -> int: ...
    def term_at(self, index: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Accept:
    """The logs agree, once this is done."""

    truncate_from: int | None
    """Take entries back from here on first; ``None`` if nothing conflicts."""
    append: tuple[Entry, ...]
    agreed_index: int
    """The last entry up to which both logs are then known to be equal."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The logs are not known to agree before the entries that were sent."""

    next_index: int


@dataclass(frozen=True, slots=True)
class ConflictBelowCommit:
    """The leader contradicts an entry that is committed here."""

    index: int


Decision = Accept | Refuse | ConflictBelowCommit


def decide(log: LogView, request: AppendRequest) -> Decision:
    """Decide about an append of the present term; changes nothing."""
    if request.previous_index > log.last_index:
        leader_made_our_last = log.last_term == request.term
        return Refuse((log.last_index if leader_made_our_last else log.commit_index) + 1)
    if request.previous_index >= log.base_index:
        if log.term_at(request.previous_index) != request.previous_term:
            if request.previous_index <= log.commit_index:
                return ConflictBelowCommit(request.previous_index)
            return Refuse(log.commit_index + 1)
        entries = request.entries
    else:
        entries = request.entries[log.base_index - request.previous_index :]
    return _merge(log, entries, max(request.previous_index, log.base_index))


def _merge(log: LogView, entries: tuple[Entry, ...], agreed_index: int) -> Decision:
    """Find the first entry that is new or differs."""
    end = agreed_index + len(entries)
    for position, entry in enumerate(entries):
        if entry.index > log.last_index:
            return Accept(None, entries[position:], end)
        if log.term_at(entry.index) != entry.term:
            if entry.index <= log.commit_index:
                return ConflictBelowCommit(entry.index)
            return Accept(entry.index, entries[position:], end)
    return Accept(None, (), end)
