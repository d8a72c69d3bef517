"""Where each leader's reign begins in one partition's log.

A replica that comes back must discard what a deposed leader wrote and nothing else.
Truncating to the high watermark can lose committed records (KIP-101), so replicas compare
*epochs* instead: the leader says where an epoch ended in its log, and the follower cuts its
own log there.

Epochs and start offsets both rise strictly; an epoch ends where its successor begins. An
epoch under which nothing was written leaves no entry.

    epoch        3          5              6
    offsets      [10 .. 19] [20 ....... 41] [42 .. log end)

The file is Kafka's ``leader-epoch-checkpoint``: a version line, a line with the number of
entries, and a line ``epoch start-offset`` for each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ottla.model.ids import LeaderEpoch, Offset
from ottla.storage.text_checkpoint import decode_lines, encode_lines, malformed

FILE_NAME: Final = "leader-epoch-checkpoint"


class EpochStart(NamedTuple):
    """The first offset written under one leader epoch."""

    epoch: LeaderEpoch
    start_offset: Offset


class EpochEnd(NamedTuple):
    """Where an epoch ended: the exclusive end of what was written under it."""

    epoch: LeaderEpoch
    end_offset: Offset


class LeaderEpochs:
    """The leader epochs that wrote a log, oldest first."""

    __slots__ = ("_starts",)

    def __init__(self, entries: Iterable[EpochStart] = ()) -> None:
        self._starts: list[EpochStart] = []
        for epoch, start_offset in entries:
            self.assign(epoch, start_offset)

    def __repr__(self) -> str:
        inside = ", ".join(f"{entry.epoch} from {entry.start_offset}" for entry in self._starts)
        return f"LeaderEpochs({inside})"

    @property
    def entries(self) -> Sequence[EpochStart]:
        """A copy of all entries, oldest first."""
        return tuple(self._starts)

    @property
    def latest(self) -> EpochStart | None:
        """The newest entry; ``None`` while nothing was written."""
        return self._starts[-1] if self._starts else None

    def assign(self, epoch: LeaderEpoch, start_offset: Offset) -> bool:
        """Begin ``epoch`` at ``start_offset``; return whether that changed anything.

        The epoch that is already the latest keeps its start. Entries that a new one
        contradicts, by an epoch or an offset not below its own, belong to a branch of the
        log that has been abandoned, and are dropped.
        """
        assert epoch >= 0, epoch
        assert start_offset >= 0, start_offset
        starts = self._starts
        if starts and starts[-1].epoch == epoch and starts[-1].start_offset <= start_offset:
            return False
        while starts and (starts[-1].epoch >= epoch or starts[-1].start_offset >= start_offset):
            starts.pop()
        starts.append(EpochStart(epoch, start_offset))
        return True

    def epoch_at(self, offset: Offset) -> LeaderEpoch | None:
        """Return the epoch under which ``offset`` was, or would be, written.

        ``None`` if it lies before the first epoch known. The end of the log is not known
        here: whatever follows the latest start counts as the latest epoch's.
        """
        index = bisect_right(self._starts, offset, key=_start_of)
        return self._starts[index - 1].epoch if index else None

    def end_offset_for(self, epoch: LeaderEpoch, log_end_offset: Offset) -> EpochEnd | None:
        """Find the largest epoch at or below ``epoch``, and the offset where it ended.

        ``None`` if nothing at or below ``epoch`` is known here, or if ``epoch`` is newer
        than everything here (KIP-279: then the asker knows more than we do). An epoch whose
        records are all deleted ends, as far as anybody can still tell, where the first
        known one starts; as in Kafka it is returned itself, with that offset.
        """
        starts = self._starts
        if not starts or epoch < 0 or epoch > starts[-1].epoch:
            return None
        if epoch == starts[-1].epoch:
            return EpochEnd(epoch, log_end_offset)
        index = bisect_right(starts, epoch, key=_epoch_of)
        known = starts[index - 1].epoch if index else epoch
        return EpochEnd(known, starts[index].start_offset)

    def truncate_to_end(self, end_offset: Offset) -> bool:
        """Forget the epochs that began at or after ``end_offset``; return whether any did.

        [0 epoch 1][20 epoch 2][40 epoch 3], to 40: epoch 3 goes, nothing of it is left.
        """
        before = len(self._starts)
        while self._starts and self._starts[-1].start_offset >= end_offset:
            self._starts.pop()
        return len(self._starts) != before

    def truncate_to_start(self, start_offset: Offset) -> bool:
        """Let the log begin at ``start_offset``; return whether that changed anything.

        The epoch that holds ``start_offset`` now begins there; older ones are forgotten.

        [0 epoch 1][20 epoch 2][40 epoch 3], to 30: [30 epoch 2][40 epoch 3].
        """
        index = bisect_right(self._starts, start_offset, key=_start_of)
        if index == 0 or (index == 1 and self._starts[0].start_offset == start_offset):
            return False
        self._starts[:index] = [EpochStart(self._starts[index - 1].epoch, start_offset)]
        return True

    def clear(self) -> None:
        """Forget everything, as a log does that starts again at another offset."""
        self._starts.clear()

    def encode(self) -> bytes:
        """Write the content of the checkpoint file."""
        return encode_lines(f"{epoch} {start_offset}" for epoch, start_offset in self._starts)

    @classmethod
    def decode(cls, content: bytes) -> LeaderEpochs:
        """Read the content of a checkpoint file; an empty one has no entries.

        Raises :exc:`ValueError`, naming the line, if it is not such a file or its entries
        do not rise. An epoch can be found again in the batches, so the caller may rebuild.
        """
        epochs = cls()
        for number, (epoch, start_offset) in enumerate(decode_lines(content, _as_entry)):
            latest = epochs.latest
            if latest and (epoch <= latest.epoch or start_offset <= latest.start_offset):
                raise malformed(number, f"({epoch}, {start_offset}) does not follow {latest}")
            epochs.assign(epoch, start_offset)
        return epochs


def _as_entry(words: Sequence[str]) -> EpochStart:
    epoch, start_offset = map(int, words)
    if epoch < 0 or start_offset < 0:
        raise ValueError("epochs and offsets are not negative")
    return EpochStart(LeaderEpoch(epoch), Offset(start_offset))


def _epoch_of(entry: EpochStart) -> LeaderEpoch:
    return entry.epoch


def _start_of(entry: EpochStart) -> Offset:
    return entry.start_offset
