"""Whatever producers send, each record is appended once and in order, across restarts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ottla.model.errors import InvalidProducerEpochError, OutOfOrderSequenceError
from ottla.model.limits import SEQUENCE_MAX
from ottla.record.batch import BatchHeader
from ottla.storage.producer_state import ProducerStates

PRODUCERS = st.integers(1, 3)
FIRST_SEQUENCE = SEQUENCE_MAX - 6  # so that the counters wrap early


def header(*, producer: int, epoch: int, sequence: int, count: int, offset: int) -> BatchHeader:
    return BatchHeader(
        offset, 49, 0, 2, 0, 0, count - 1, offset, offset, producer, epoch, sequence, count
    )


class Partition(RuleBasedStateMachine):
    """Appends what the states let through, and keeps the whole log to compare with."""

    def __init__(self) -> None:
        super().__init__()
        self.states = ProducerStates(expiration_ms=1 << 40)
        self.log: list[BatchHeader] = []
        self.remembered_from = dict.fromkeys(range(1, 4), 0)

    def log_of(self, producer: int) -> list[BatchHeader]:
        return [batch for batch in self.log if batch.producer_id == producer]

    def send(self, batch: BatchHeader) -> None:
        """Do what a leader does with a batch."""
        if self.states.check(batch) is None:
            self.states.append(batch)
            self.log.append(batch)

    def next_batch(self, producer: int, count: int, *, skip: int = 0) -> BatchHeader:
        mine = self.log_of(producer)
        epoch = mine[-1].producer_epoch if mine else 0
        last = mine[-1].last_sequence if mine else FIRST_SEQUENCE - 1
        sequence = (last + 1 + skip) & SEQUENCE_MAX
        offset = self.log[-1].next_offset if self.log else 0
        return header(producer=producer, epoch=epoch, sequence=sequence, count=count, offset=offset)

    @rule(producer=PRODUCERS, count=st.integers(1, 4))
    def producer_sends_its_next_batch(self, producer: int, count: int) -> None:
        before = len(self.log)
        self.send(self.next_batch(producer, count))
        assert len(self.log) == before + 1

    @rule(producer=PRODUCERS, count=st.integers(1, 4), skip=st.integers(1, 9))
    def batch_is_lost_on_the_way(self, producer: int, count: int, skip: int) -> None:
        if self.log_of(producer):
            try:
                self.send(self.next_batch(producer, count, skip=skip))
            except OutOfOrderSequenceError:
                return
            raise AssertionError("a gap was let through")

    @rule(producer=PRODUCERS, age=st.integers(0, 7))
    def producer_retries(self, producer: int, age: int) -> None:
        mine = [b for b in self.log_of(producer) if b.base_offset >= self.remembered_from[producer]]
        if age >= len(mine):
            return
        retried = mine[-1 - age]
        if retried.producer_epoch != mine[-1].producer_epoch:
            return
        if age < 5:
            duplicate = self.states.check(retried)
            assert duplicate is not None
            assert duplicate[:2] == (retried.base_offset, retried.last_offset)
            return
        try:
            self.send(retried)
        except OutOfOrderSequenceError:
            return
        raise AssertionError("an old batch was let through")

    @rule(producer=PRODUCERS, count=st.integers(1, 4))
    def producer_restarts_with_a_new_epoch(self, producer: int, count: int) -> None:
        old = self.next_batch(producer, count)
        self.send(old._replace(producer_epoch=old.producer_epoch + 1, base_sequence=0))
        if self.log_of(producer)[:-1]:
            try:
                self.send(old)
            except InvalidProducerEpochError:
                return
            raise AssertionError("a zombie was let through")

    @rule()
    def broker_restarts_from_a_snapshot(self) -> None:
        self.states = ProducerStates.decode(self.states.encode(), expiration_ms=1 << 40)
        for producer in self.remembered_from:
            if mine := self.log_of(producer):
                self.remembered_from[producer] = mine[-1].base_offset

    @rule(share=st.floats(0, 1))
    def follower_derives_the_same_from_a_snapshot_and_the_log(self, share: float) -> None:
        split = int(share * len(self.log))
        early, whole = ProducerStates(expiration_ms=1), ProducerStates(expiration_ms=1)
        for batch in self.log[:split]:
            early.append(batch)
        follower = ProducerStates.decode(early.encode(), expiration_ms=1)
        for batch in self.log[split:]:
            follower.append(batch)
        for batch in self.log:
            whole.append(batch)
        assert sorted(follower.entries()) == sorted(whole.entries())
        assert sorted(follower.entries()) == sorted(self.states.entries())

    @invariant()
    def sequences_in_the_log_have_neither_gaps_nor_repeats(self) -> None:
        for producer in range(1, 4):
            mine = self.log_of(producer)
            for previous, batch in pairwise(mine):
                same_epoch = previous.producer_epoch == batch.producer_epoch
                expected = (previous.last_sequence + 1) & SEQUENCE_MAX if same_epoch else 0
                assert batch.base_sequence == expected


Partition.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestPartition = Partition.TestCase
