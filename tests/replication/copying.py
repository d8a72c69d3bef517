"""A follower, spoken to in plain numbers, and a log of which nothing but epochs matters."""

from __future__ import annotations

from collections.abc import Sequence

from ottla.model.ids import LeaderEpoch, Offset
from ottla.replication.follower import (
    Acknowledge,
    AppendBatches,
    Begin,
    DeleteBefore,
    Effect,
    Input,
    LeaderDiverged,
    LeaderOutOfRange,
    LeaderRefused,
    LeaderSent,
    LinkOpened,
    LogAppended,
    LogDurable,
    LogTruncated,
    PartitionFollower,
    StartAt,
    Tick,
    TruncateTo,
)
from ottla.storage.leader_epochs import LeaderEpochs

Record = tuple[int, int]
"""The leader epoch that wrote it, and something to tell it from others."""


class ModelLog:
    """Records, one a batch; those below the start are kept to be looked at by the test alone."""

    def __init__(self, records: Sequence[Record] = (), *, start: int = 0) -> None:
        self.start = start
        self.records: dict[int, Record] = {}
        self.end = start
        self.durable = start
        self.leader_epochs = LeaderEpochs()
        self.append(records)

    @classmethod
    def of_epochs(cls, *starts: tuple[int, int], end: int) -> ModelLog:
        """Make a log with epochs that begin at these offsets: ``(epoch, offset)``."""
        log = cls(start=starts[0][1] if starts else end)
        for (epoch, start), (_, next_start) in zip(starts, [*starts, (0, end)][1:], strict=True):
            log.append([(epoch, offset) for offset in range(start, next_start)])
        log.durable = log.end
        return log

    @property
    def log_start_offset(self) -> Offset:
        return Offset(self.start)

    @property
    def log_end_offset(self) -> Offset:
        return Offset(self.end)

    @property
    def topic_partition(self) -> str:
        return "web-0"

    def append(self, records: Sequence[Record]) -> None:
        for record in records:
            self.leader_epochs.assign(LeaderEpoch(record[0]), Offset(self.end))
            self.records[self.end] = record
            self.end += 1

    def truncate_to(self, offset: int) -> None:
        if offset < self.start:
            self.start_at(offset)
            return
        assert offset <= self.end
        for dropped in range(offset, self.end):
            del self.records[dropped]
        self.end = offset
        self.durable = min(self.durable, offset)
        self.leader_epochs.truncate_to_end(Offset(offset))

    def start_at(self, offset: int) -> None:
        self.records.clear()
        self.leader_epochs.clear()
        self.start = self.end = self.durable = offset

    def delete_before(self, offset: int) -> None:
        assert self.start <= offset <= self.end
        self.start = offset
        self.leader_epochs.truncate_to_start(Offset(offset))


class Copy:
    """A follower of epoch 7 whose log is that of the driver: what it says is done at once."""

    def __init__(
        self,
        *starts: tuple[int, int],
        end: int = 0,
        durable_end: int | None = None,
        high_watermark: int = 0,
        write_caching: bool = False,
        known_epochs: bool = True,
    ) -> None:
        self.log = ModelLog.of_epochs(*starts, end=end)
        self.now_ms = 0
        self.follower = PartitionFollower(
            leader_epoch=LeaderEpoch(7),
            log_start_offset=self.log.log_start_offset,
            log_end_offset=self.log.log_end_offset,
            durable_end_offset=Offset(end if durable_end is None else durable_end),
            high_watermark=Offset(high_watermark),
            epochs=self.log.leader_epochs if known_epochs else LeaderEpochs(),
            write_caching=write_caching,
            first_generation=1,
        )

    def step(self, event: Input) -> list[Effect]:
        return self.follower.step(event, now_ms=self.now_ms)

    def open(self) -> list[Effect]:
        return self.step(LinkOpened())

    def send(
        self,
        first: int | None = None,
        end: int | None = None,
        *,
        high_watermark: int = 0,
        log_start: int = 0,
        generation: int = 1,
    ) -> list[Effect]:
        return self.step(
            LeaderSent(
                generation=generation,
                first_offset=None if first is None else Offset(first),
                end_offset=None if end is None else Offset(end),
                high_watermark=Offset(high_watermark),
                log_start_offset=Offset(log_start),
            )
        )

    def take(self, first: int, end: int, **rest: int) -> list[Effect]:
        """Receive batches of epoch 7 and append them."""
        assert self.send(first, end, **rest) == [AppendBatches()]
        self.log.append([(7, offset) for offset in range(first, end)])
        return self.step(LogAppended(Offset(end)))

    def sync(self, end: int) -> list[Effect]:
        return self.step(LogDurable(Offset(end)))

    def diverge(self, epoch: int, end: int, *, generation: int = 1) -> list[Effect]:
        return self.step(
            LeaderDiverged(generation=generation, epoch=LeaderEpoch(epoch), end_offset=Offset(end))
        )

    def out_of_range(self, log_start: int, *, generation: int = 1) -> list[Effect]:
        return self.step(
            LeaderOutOfRange(generation=generation, log_start_offset=Offset(log_start))
        )

    def refuse(self, *, generation: int = 1) -> list[Effect]:
        return self.step(LeaderRefused(generation=generation))

    def cut_to(self, offset: int) -> list[Effect]:
        self.log.truncate_to(offset)
        return self._was_cut()

    def begin_anew_at(self, offset: int) -> list[Effect]:
        self.log.start_at(offset)
        return self._was_cut()

    def _was_cut(self) -> list[Effect]:
        return self.step(
            LogTruncated(
                log_start_offset=self.log.log_start_offset,
                log_end_offset=self.log.log_end_offset,
                durable_end_offset=Offset(self.log.durable),
            )
        )

    def wait_ms(self, duration_ms: int) -> list[Effect]:
        self.now_ms += duration_ms
        return self.step(Tick())


def begin(
    generation: int, at: int, epoch: int | None = None, *, durable: int | None = None
) -> Begin:
    return Begin(
        generation=generation,
        leader_epoch=LeaderEpoch(7),
        fetch_offset=Offset(at),
        last_fetched_epoch=None if epoch is None else LeaderEpoch(epoch),
        durable_end_offset=Offset(at if durable is None else durable),
    )


def acknowledge(end: int, *, generation: int = 1) -> Acknowledge:
    return Acknowledge(generation=generation, end_offset=Offset(end))


def truncate_to(offset: int) -> TruncateTo:
    return TruncateTo(Offset(offset))


def start_at(offset: int) -> StartAt:
    return StartAt(Offset(offset))


def delete_before(offset: int) -> DeleteBefore:
    return DeleteBefore(Offset(offset))
