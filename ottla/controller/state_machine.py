"""What the metadata log drives: entries in, the state and the image of the cluster out.

Decide, then replay
-------------------
The controller decides on a state (:mod:`ottla.controller.controller`) and changes nothing. Its
decision is a batch of records. The batch goes through the log, and every broker replays it here.
Leader, follower and restarted node run the same code on the same entries.

Races
-----
Between a decision and its replay, other batches may be applied, and the controller may have been
deposed. Three checks make that harmless; none depends on how the proposer behaves:

1. *The version.* Each batch names the version of the state that it was decided on, and every
   batch that changes the state raises the version by one. A batch whose base is not the present
   version is applied as nothing and answered ``CONFLICT``. So whatever a decision read -- the
   name is free, the broker is fenced, the id is unused -- is still true when its records are
   replayed, and no record has to be checked a second time.
2. *The epoch.* ``ControllerElected`` is the one batch that depends on no state. From then on
   batches of any other epoch are answered ``NOT_CONTROLLER``. (An election raises the version
   too, so they would conflict in any case; the epoch tells the proposer why.)
3. *The retry.* A batch that was applied already is recognised by client and sequence and
   answered as it was the first time (:mod:`ottla.controller.answers`).

A proposer that does one decision at a time never sees ``CONFLICT``; one that does several decides
again and is right in the end. It may also chain: a batch decided on version 7 makes version 8, so
the next of the same decision names 8 as its base and need not wait for the answer of the first.

Threads: ``apply``, ``snapshot`` and ``restore`` run on the engine's thread. ``state`` and
``image`` may be read on any, because they are values that never change and each is replaced by
one assignment.
"""

from __future__ import annotations

from dataclasses import replace

from ottla.controller.answers import RecentAnswers
from ottla.controller.records import (
    NO_BASE_VERSION,
    AnswerOutcome,
    MetadataAnswer,
    decode_batch,
)
from ottla.controller.snapshot import decode_snapshot, encode_snapshot
from ottla.controller.state import MetadataState, replay
from ottla.model.ids import MetadataOffset
from ottla.model.image import ClusterImage
from ottla.v1 import metadata_record_pb2 as pb


class MetadataStateMachine:
    """The replicated state of one cluster."""

    def __init__(self, *, cluster_id: str = "") -> None:
        """Begin before the first entry of the log.

        The log itself says which cluster's it is; ``cluster_id``, if given, is what it must say.
        """
        self._empty = MetadataState(image=ClusterImage(cluster_id=cluster_id))
        self._state = self._empty
        self._answers = RecentAnswers()

    def __repr__(self) -> str:
        return f"<MetadataStateMachine {self._state!r}>"

    @property
    def state(self) -> MetadataState:
        """The state after the last applied entry; what the controller decides on."""
        return self._state

    @property
    def image(self) -> ClusterImage:
        """The cluster after the last applied entry; another object after each."""
        return self._state.image

    def apply(self, index: MetadataOffset, entry: bytes) -> bytes:
        """Replay one committed batch and return an encoded ``MetadataAnswer``.

        What the records cannot be, by the checks above, is an :exc:`AssertionError`; so is an
        entry that this version cannot read. The state is then as before.
        """
        assert index > self.image.metadata_offset, (index, self.image.metadata_offset)
        batch = decode_batch(entry)
        remembered = self._answers.find(batch.client_id, batch.sequence)
        if remembered is not None:
            self._pass_over(index)
            return remembered
        refusal = self._refusal(batch)
        if refusal is not None:
            self._pass_over(index)
            return self._answer(refusal)
        self._state = replay(self._state, batch.records, metadata_offset=index)
        answer = self._answer(AnswerOutcome.APPLIED)
        self._answers.remember(batch.client_id, batch.sequence, answer)
        return answer

    def snapshot(self) -> bytes:
        """Return the whole state as canonical bytes: equal on all replicas at the same entry."""
        return encode_snapshot(self._state, self._answers)

    def restore(self, index: MetadataOffset, snapshot: bytes) -> None:
        """Replace the state by one that :meth:`snapshot` returned when ``index`` was applied.

        The image says at which entry of ours that was: at ``index`` or, if the engine has used
        the entries in between for itself, below.
        """
        state, answers = decode_snapshot(snapshot, empty=self._empty)
        assert state.image.metadata_offset <= index, (state.image.metadata_offset, index)
        self._state, self._answers = state, answers

    def _refusal(self, batch: pb.MetadataBatch) -> AnswerOutcome | None:
        elected = _elected(batch)
        image = self.image
        if elected is not None:
            late = elected.controller_epoch < image.controller_epoch
            return AnswerOutcome.NOT_CONTROLLER if late else None
        if batch.controller_epoch != image.controller_epoch:
            return AnswerOutcome.NOT_CONTROLLER
        if batch.base_version != self._state.version:
            return AnswerOutcome.CONFLICT
        return None

    def _pass_over(self, index: MetadataOffset) -> None:
        """Take note that an entry was applied which changes nothing."""
        image = replace(self.image, metadata_offset=index)
        self._state = replace(self._state, image=image)

    def _answer(self, outcome: AnswerOutcome) -> bytes:
        answer = MetadataAnswer(
            outcome=outcome,
            version=self._state.version,
            metadata_offset=self.image.metadata_offset,
        )
        return answer.encode()


def _elected(batch: pb.MetadataBatch) -> pb.ControllerElected | None:
    """Return the election that the batch is, and check that it is nothing else besides."""
    elections = [r for r in batch.records if r.WhichOneof("kind") == "controller_elected"]
    if not elections:
        assert batch.base_version > NO_BASE_VERSION, "only an election depends on no state"
        return None
    assert len(batch.records) == 1, "an election is alone in its batch"
    assert batch.base_version == NO_BASE_VERSION, batch.base_version
    assert elections[0].controller_elected.controller_epoch == batch.controller_epoch, batch
    return elections[0].controller_elected
