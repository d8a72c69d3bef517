"""A decision: what to write to the metadata log, and what to answer once it is applied.

The records of a decision come in *steps*. A step is applied whole or not at all, and after any
number of steps the state is a sound one; so a decision that is too large for one entry of the
log becomes several, cut between steps. (Fencing a broker that leads a hundred thousand
partitions is such a one.) The record that says "done" is in the last step: if the controller
fails half way, whoever asked asks again, and the rest is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from ottla.controller.records import encode_batch
from ottla.controller.state import MetadataState
from ottla.model.ids import ControllerEpoch
from ottla.model.limits import METADATA_ENTRY_BYTES_MAX
from ottla.v1.metadata_record_pb2 import MetadataRecord

Step = tuple[MetadataRecord, ...]

Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)

_BATCH_FIELDS_BYTES_MAX: Final = 64
"""The fields of a batch besides its records: four varints of at most ten bytes and their tags."""

_RECORD_FRAME_BYTES_MAX: Final = 6
"""What a record takes in a batch besides itself: a tag and a length."""

STEP_BYTES_MAX: Final = METADATA_ENTRY_BYTES_MAX - _BATCH_FIELDS_BYTES_MAX
"""As :func:`step_bytes` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[Response_co]):
    """What a request leads to. Nothing has happened yet."""

    controller_epoch: ControllerEpoch
    base_version: int
    """Of the state that was decided on."""
    steps: tuple[Step, ...]
    """Empty: nothing is to change. The answer may be given at once if the caller is content with
    what this node knows, or after :meth:`Consensus.barrier` and another look if it is not."""
    response: Response_co
    """To be given when all entries were answered ``APPLIED``, and not before."""

    @property
    def records(self) -> Step:
        """All records, in order."""
        return tuple(record for step in self.steps for record in step)

    def entries(self, *, client_id: int, first_sequence: int) -> list[bytes]:
        """Return the entries to propose, in order; mostly one, none if nothing is to change.

        Each is a batch with the next sequence, and with the version that the one before it makes
        as its base. They are to be proposed one after another, each once the one before it is
        applied: were another batch applied in place of a refused one, the next would fit by chance.
        """
        return [
            encode_batch(
                records,
                controller_epoch=self.controller_epoch,
                base_version=self.base_version + number,
                client_id=client_id,
                sequence=first_sequence + number,
            )
            for number, records in enumerate(_packed(self.steps))
        ]


def decided(state: MetadataState, response: Response, *steps: Step) -> Decision[Response]:
    """Return the decision, made on ``state``, to take ``steps`` and answer ``response``."""
    assert all(step_bytes(step) <= STEP_BYTES_MAX for step in steps), "a step must fit in an entry"
    return Decision(
        controller_epoch=state.image.controller_epoch,
        base_version=state.version,
        steps=steps,
        response=response,
    )


def step_bytes(step: Step) -> int:
    """Return the most that a step takes in an entry; above ``STEP_BYTES_MAX`` it fits in none."""
    return sum(record.ByteSize() + _RECORD_FRAME_BYTES_MAX for record in step)


def _packed(steps: Sequence[Step]) -> Iterator[list[MetadataRecord]]:
    """Put as many steps as fit into each entry."""
    records: list[MetadataRecord] = []
    size = 0
    for step in steps:
        more = step_bytes(step)
        if records and size + more > STEP_BYTES_MAX:
            yield records
            records, size = [], 0
        records.extend(step)
        size += more
    if records:
        yield records
