"""Of each key the last record in the log counts, however the log is read."""

from __future__ import annotations

import pytest

from ottla.cluster.group_loading import replay_log
from ottla.cluster.group_log import LoggedValue, LogPiece
from ottla.model.errors import NotCoordinatorError
from ottla.model.ids import Offset
from tests.cluster.group_world import SmallMachine


class Pieces:
    """A log that is read a piece at a time, each of them one offset."""

    def __init__(self, *pieces: dict[bytes, bytes | None]) -> None:
        self.pieces = pieces
        self.start_offset = Offset(0)
        self.is_ours = True

    @property
    def end_offset(self) -> Offset:
        return Offset(len(self.pieces))

    def check_ours(self) -> None:
        if not self.is_ours:
            raise NotCoordinatorError("another broker leads")

    async def read(self, offset: Offset) -> LogPiece:
        piece = self.pieces[offset]
        latest = {key: LoggedValue(value, 1) for key, value in piece.items()}
        return LogPiece(latest, len(piece), Offset(offset + 1))


async def test_a_later_piece_outranks_an_earlier_one() -> None:
    machine = SmallMachine()
    log = Pieces({b"a/": b"1", b"b/": b"2", b"c/": b"3"}, {b"a/": b"4", b"b/": None})
    assert await replay_log(log, machine) == 5
    assert machine.offsets == {b"a/": b"4", b"c/": b"3"}


async def test_keys_come_in_the_order_of_their_last_records() -> None:
    machine = SmallMachine()
    await replay_log(Pieces({b"a/": b"1", b"b/": b"2"}, {b"a/": b"3"}), machine)
    assert list(machine.offsets) == [b"b/", b"a/"]


async def test_who_leads_no_more_in_the_end_has_read_nothing() -> None:
    log = Pieces({b"a/": b"1"})
    log.is_ours = False
    with pytest.raises(NotCoordinatorError):
        await replay_log(log, SmallMachine())
