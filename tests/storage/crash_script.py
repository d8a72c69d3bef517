"""A scripted life of a log, and what must be true of it whatever happened.

The script keeps a model beside the log: what was appended where, how much of that was
acknowledged as durable, what was cut off. An operation that did not return may have happened or
not, so while one runs the model holds the states before it and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ottla.model.errors import StorageError
from ottla.model.ids import LeaderEpoch, Offset
from ottla.record.batch import RecordBatch, restamped
from ottla.simulation.disk import SimulatedCrash, SimulatedDisk
from ottla.storage.producer_history import remember
from ottla.storage.producer_state import ProducerStates
from ottla.storage.removal import RemovedSegments
from tests.storage.world import NOW_MS, UnopenedWorld, batch, batches_in, marker

SETTINGS = {"segment_bytes": 700, "index_interval_bytes": 150}


@dataclass
class History:
    """What may be in the log after a crash."""

    batches: list[RecordBatch] = field(default_factory=list)
    """Appended and not cut off, with their final stamps."""
    before_cut: list[RecordBatch] = field(default_factory=list)
    """Likewise, as of before the cut that is under way."""
    durable_end: int = 0
    """Acknowledged by a flush, and not cut off since."""
    start_offset: int = 0
    """Deleted below, and checkpointed."""
    start_offset_max: int = 0
    """Deleted below, perhaps not checkpointed."""

    @property
    def end_offset(self) -> int:
        return self.batches[-1].header.next_offset if self.batches else self.start_offset_max


class Life:
    """A world, its history, and what a broker does to it."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.world = UnopenedWorld(disk, **SETTINGS)
        self.history = History()
        self.sequence = 0
        self.clean = False

    # --- Operations -------------------------------------------------------------------

    def append(self, *batches: RecordBatch, epoch: int) -> None:
        offset = self.world.log.log_end_offset
        for sent in batches:
            parts = restamped(sent, base_offset=offset, leader_epoch=epoch)
            stamped = RecordBatch.at(b"".join(parts))
            # It may survive even if the call does not return.
            self.history.batches.append(stamped)
            offset = Offset(stamped.header.next_offset)
        try:
            self.world.append(*batches, epoch=epoch)
        except StorageError:
            del self.history.batches[-len(batches) :]
            raise

    def append_each(self, count: int, size: int, *, epoch: int) -> None:
        """Append batches one by one."""
        for number in range(count):
            self.append(batch(b"%d" % number * size), epoch=epoch)

    def produce(self, count: int, *, epoch: int) -> None:
        """Append from an idempotent producer, and from others."""
        for _ in range(count):
            values = [b"%d" % self.sequence, b"x" * (self.sequence % 5 * 30)]
            sent = batch(*values, producer=7, sequence=self.sequence, at_ms=NOW_MS + self.sequence)
            self.append(sent, batch(b"plain"), epoch=epoch)
            self.sequence += 2

    def flush(self) -> None:
        self.history.durable_end = self.world.log.flush()

    def checkpoint(self) -> None:
        self.world.checkpoint()
        self.history.start_offset = self.world.log_start

    def truncate_to(self, offset: int) -> None:
        history = self.history
        history.before_cut = list(history.batches)
        history.batches = [b for b in history.batches if b.header.next_offset <= offset]
        history.durable_end = min(history.durable_end, history.end_offset)
        _remove(self.world.log.truncate_to(Offset(offset), now_ms=NOW_MS))
        history.before_cut = []

    def start_at(self, offset: int) -> None:
        history = self.history
        history.before_cut = history.batches
        history.batches = []
        history.start_offset_max = offset
        history.start_offset = 0
        history.durable_end = 0
        _remove(self.world.log.start_at(Offset(offset), now_ms=NOW_MS))
        history.before_cut = []
        history.durable_end = offset

    def delete_before(self, offset: int, *, remove: bool) -> None:
        self.history.start_offset_max = max(self.history.start_offset_max, offset)
        removed: RemovedSegments = self.world.log.delete_records_before(Offset(offset))
        if remove:
            _remove(removed)

    def restart(self) -> None:
        self.world.log.close()
        self.history.durable_end = self.history.end_offset
        self.checkpoint()
        self.clean = True
        self.start()

    def start(self) -> None:
        """Open the log as the broker does that finds the marker of a clean stop, or none."""
        clean, self.clean = self.clean, False
        self.world.log = self.world.open(clean=clean)

    def take_stock(self) -> None:
        """Let what recovery found be all there is."""
        self.history.batches = list(batches_in(self.world.log))
        self.history.before_cut = []
        self.history.start_offset_max = self.world.log.log_start_offset


def script(life: Life) -> Iterator[Callable[[], None]]:
    """Yield the operations of a life, in order."""
    yield life.start
    yield lambda: life.produce(3, epoch=1)
    yield life.flush
    yield lambda: life.produce(4, epoch=1)
    yield life.checkpoint
    yield life.flush
    yield lambda: life.append(batch(b"t", producer=9, transactional=True), epoch=2)
    yield lambda: life.produce(3, epoch=2)
    yield lambda: life.append(marker(producer=9, aborted=True), epoch=2)
    yield life.flush
    yield life.checkpoint
    yield lambda: life.truncate_to(13)
    yield lambda: life.append(batch(b"other"), batch(b"one"), epoch=3)
    yield lambda: life.append_each(6, 90, epoch=3)
    yield life.flush
    yield lambda: life.delete_before(7, remove=False)
    yield lambda: life.append_each(4, 40, epoch=4)
    yield life.checkpoint
    yield life.restart
    yield lambda: life.append_each(5, 40, epoch=5)
    yield lambda: life.delete_before(15, remove=True)
    yield life.flush
    yield lambda: life.append_each(5, 40, epoch=5)
    yield lambda: life.start_at(12)
    yield lambda: life.append_each(9, 80, epoch=6)
    yield life.flush
    yield life.checkpoint
    yield lambda: life.append(*[batch(b"last")] * 2, epoch=6)
    yield lambda: life.start_at(90)
    yield lambda: life.append_each(4, 90, epoch=7)
    yield life.checkpoint
    yield life.flush
    yield lambda: life.delete_before(92, remove=True)
    yield lambda: life.append(batch(b"last"), epoch=8)


def _remove(removed: RemovedSegments) -> None:
    try:
        removed.remove()
    except OSError as error:
        removed.remove()
        raise StorageError(str(error)) from error


# --- What must be true ----------------------------------------------------------------------


def check(life: Life) -> None:
    """Compare what is in the log now with what may be."""
    log, history = life.world.log, life.history
    found = list(batches_in(log))
    _check_batches(life, found)
    expected_end = found[-1].header.next_offset if found else log.log_start_offset
    assert log.log_end_offset == expected_end
    assert history.start_offset <= log.log_start_offset
    assert log.log_end_offset >= history.durable_end
    for each in found:
        offset = max(Offset(each.header.base_offset), log.log_start_offset)
        epoch = log.leader_epochs.epoch_at(offset)
        assert epoch == each.header.partition_leader_epoch
    _check_producers(life, found)


def _check_batches(life: Life, found: list[RecordBatch]) -> None:
    history = life.history
    start = life.world.log.log_start_offset
    for timeline in (history.batches, history.before_cut):
        possible = [bytes(b.view) for b in timeline if b.header.next_offset > start]
        if [bytes(b.view) for b in found] == possible[: len(found)]:
            return
    raise AssertionError((found, history))


def _check_producers(life: Life, found: list[RecordBatch]) -> None:
    log = life.world.log
    end = log.log_end_offset
    states = ProducerStates(expiration_ms=1 << 60)
    timeline = life.history.batches
    if found and bytes(found[-1].view) not in [bytes(b.view) for b in timeline]:
        timeline = life.history.before_cut
    for each in timeline:
        if each.header.next_offset <= end:
            remember(states, each)
    expected = {entry.producer_id: entry for entry in states.entries()}
    for entry in log.producer_states.entries():
        if entry.last_offset >= log.log_start_offset:
            assert entry == expected[entry.producer_id]
        assert entry.last_offset < end
    known = {entry.producer_id for entry in log.producer_states.entries()}
    for entry in expected.values():
        assert entry.last_offset < log.log_start_offset or entry.producer_id in known


def run_until_crash(seed: int, crash_at_operation: int | None) -> Life:
    """Play the script until the disk crashes in that operation, or to its end."""
    disk = SimulatedDisk(seed)
    life = Life(disk)
    if crash_at_operation is not None:
        disk.crash_at_operation = disk.operations + crash_at_operation
    try:
        for operation in script(life):
            operation()
    except SimulatedCrash:
        pass
    return life


def check_that_life_goes_on(life: Life) -> None:
    """Append, stop and start; nothing may be wrong with the files."""
    world = life.world
    end = world.log.log_end_offset
    appended = world.log.append([batch(b"after")], leader_epoch=LeaderEpoch(9), now_ms=NOW_MS)
    assert appended.base_offset == end
    before = [bytes(b.view) for b in batches_in(world.log)]
    assert world.log.flush() == end + 1
    world.restart()
    assert [bytes(b.view) for b in batches_in(world.log)] == before
    assert world.findings() == []
