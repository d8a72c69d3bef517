"""A follower takes entries back only where they conflict, and never what is committed."""

from __future__ import annotations

import pytest

from ottla.controller.raft.append_rules import (
    Accept,
    ConflictBelowCommit,
    Decision,
    Refuse,
    decide,
)
from ottla.controller.raft.messages import AppendRequest, Entry


class Log:
    """Terms of consecutive entries after a base: ``Log(40, base_term=2, terms=[3, 3, 4])``."""

    def __init__(self, base_index: int, base_term: int, terms: list[int], commit: int) -> None:
        self._terms = [base_term, *terms]
        self.base_index = base_index
        self.commit_index = commit

    @property
    def last_index(self) -> int:
        return self.base_index + len(self._terms) - 1

    @property
    def last_term(self) -> int:
        return self._terms[-1]

    def term_at(self, index: int) -> int:
        assert self.base_index <= index <= self.last_index
        return self._terms[index - self.base_index]


# 40/2 | 41/3 42/3 43/4 44/4, committed up to 42
LOG = Log(40, base_term=2, terms=[3, 3, 4, 4], commit=42)


def append(previous: tuple[int, int], *terms: int, term: int = 5) -> AppendRequest:
    index, previous_term = previous
    entries = tuple(Entry(b"\x00e", index + n, t) for n, t in enumerate(terms, 1))
    return AppendRequest(
        term=term,
        previous_index=index,
        previous_term=previous_term,
        entries=entries,
        commit_index=0,
    )


def accept(*terms: int, start: int = 0, truncate: int | None = None, agreed: int) -> Accept:
    entries = tuple(Entry(b"\x00e", start + n, t) for n, t in enumerate(terms))
    return Accept(truncate, entries, agreed)


@pytest.mark.parametrize(
    ("request_", "decision"),
    [
        pytest.param(append((44, 4), 5), accept(5, start=45, agreed=45), id="new entries match"),
        pytest.param(append((44, 4)), accept(agreed=44), id="heartbeat at the end"),
        pytest.param(append((42, 3)), accept(agreed=42), id="late heartbeat keeps the rest"),
        pytest.param(append((42, 3), 4), accept(agreed=43), id="shorter append keeps the rest"),
        pytest.param(append((42, 3), 4, 4), accept(agreed=44), id="repeated append"),
        pytest.param(
            append((42, 3), 4, 4, 5), accept(5, start=45, agreed=45), id="overlap adds the new"
        ),
        pytest.param(
            append((42, 3), 5), accept(5, start=43, truncate=43, agreed=43), id="conflict"
        ),
        pytest.param(
            append((42, 3), 4, 5),
            accept(5, start=44, truncate=44, agreed=44),
            id="conflict behind a match",
        ),
        pytest.param(append((43, 3), 5), Refuse(43), id="previous entry differs above commit"),
        pytest.param(append((60, 4)), Refuse(43), id="gap, our end is of an older term"),
        pytest.param(append((60, 4), term=4), Refuse(45), id="gap, our end is the leader's own"),
        pytest.param(
            append((42, 4)), ConflictBelowCommit(42), id="previous entry differs below commit"
        ),
        pytest.param(append((41, 3), 4), ConflictBelowCommit(42), id="entry differs below commit"),
        pytest.param(append((40, 2), 3, 3), accept(agreed=42), id="from the base on"),
        pytest.param(append((40, 1)), ConflictBelowCommit(40), id="the base itself differs"),
        pytest.param(append((30, 1)), accept(agreed=40), id="all before the base"),
        pytest.param(append((38, 2), 2, 2, 3), accept(agreed=41), id="begins before the base"),
        pytest.param(
            append((39, 2), 2, 3, 3, 4, 4, 5), accept(5, start=45, agreed=45), id="spans the log"
        ),
    ],
)
def test_append_is_decided(request_: AppendRequest, decision: Decision) -> None:
    assert decide(LOG, request_) == decision


def test_append_that_ends_before_the_base_agrees_up_to_the_base() -> None:
    assert decide(LOG, append((30, 1), 1, 1)) == accept(agreed=40)


def test_empty_log_after_a_snapshot_accepts_what_follows_it() -> None:
    log = Log(40, base_term=2, terms=[], commit=40)

    assert decide(log, append((40, 2), 5)) == accept(5, start=41, agreed=41)
