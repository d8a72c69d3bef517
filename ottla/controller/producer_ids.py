"""Producer ids: every broker gets blocks of its own, so that no two producers share one.

The log remembers one number, the first id that is free. A broker that restarts forgets what is
left of its block; there are 2^63.
"""

from __future__ import annotations

from ottla.controller import records
from ottla.controller.brokers import registered_broker
from ottla.controller.decisions import Decision, decided
from ottla.controller.requests import AllocateProducerIds, ProducerIdBlock
from ottla.controller.state import MetadataState
from ottla.model.ids import ProducerId
from ottla.model.limits import PRODUCER_ID_BLOCK_SIZE


def allocate_producer_ids(
    state: MetadataState, request: AllocateProducerIds
) -> Decision[ProducerIdBlock]:
    """Decide to give the next block to a registered broker."""
    broker = registered_broker(state, request.broker_id, request.broker_epoch)
    first = state.next_producer_id
    record = records.producer_ids_allocated(
        broker.broker_id,
        broker.broker_epoch,
        next_producer_id=ProducerId(first + PRODUCER_ID_BLOCK_SIZE),
    )
    block = ProducerIdBlock(first=first, count=PRODUCER_ID_BLOCK_SIZE)
    return decided(state, block, (record,))
