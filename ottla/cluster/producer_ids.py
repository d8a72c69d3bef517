"""Producer ids: taken from the controller by the block, given away one by one.

Asking the controller for each id would put a round of consensus in front of every producer that
starts. So a broker takes a block of ids and gives them away from memory. What is left of a block
when the broker stops is never given away; ids are plentiful.

An epoch is raised without asking anybody (KIP-360): the id is the caller's own, and the partitions
refuse the older epoch from the first batch with the new one. Epochs are 16 bits; a producer that
has used them up gets a new id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from ottla.controller.requests import AllocateProducerIds, ProducerIdBlock
from ottla.model.errors import InvalidRequestError, OttlaError, UnsupportedVersionError
from ottla.model.ids import BrokerEpoch, BrokerId, ProducerEpoch, ProducerId
from ottla.model.limits import PRODUCER_ID_WAIT_MAX_MS

PRODUCER_EPOCH_MAX: Final = 2**15 - 1
_FIRST_EPOCH: Final = ProducerEpoch(0)


class ProducerIdSource(Protocol):
    """The controller, for whoever wants a block of ids."""

    async def submit(self, request: AllocateProducerIds, *, timeout_ms: int) -> ProducerIdBlock:
        """Allocate a block; see :class:`~ottla.cluster.controller_driver.ControllerDriver`."""


class BrokerProducerIdsService:
    """See :class:`~ottla.cluster.services.ProducerIdsService`."""

    def __init__(
        self,
        controller: ProducerIdSource,
        *,
        broker_id: BrokerId,
        broker_epoch: Callable[[], BrokerEpoch],
    ) -> None:
        """Wire it; ``broker_epoch`` returns the epoch of this broker's present registration."""
        self._controller = controller
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._next = 0
        self._end = 0
        self._allocating = asyncio.Lock()

    async def init_producer_id(
        self,
        current: tuple[ProducerId, ProducerEpoch] | None,
        *,
        transactional_id: str | None = None,
    ) -> tuple[ProducerId, ProducerEpoch]:
        if transactional_id is not None:
            raise _refusal(transactional_id)
        if current is not None:
            producer_id, epoch = current
            if producer_id < 0 or not 0 <= epoch <= PRODUCER_EPOCH_MAX:
                raise InvalidRequestError(
                    f"producer id {producer_id} with epoch {epoch} was never given to anybody; "
                    "ask without both to get a new one"
                )
            if epoch < PRODUCER_EPOCH_MAX:
                return producer_id, ProducerEpoch(epoch + 1)
        return await self._take(), _FIRST_EPOCH

    async def _take(self) -> ProducerId:
        async with self._allocating:  # those who wait for a block wait for the same one
            if self._next == self._end:
                block = await self._controller.submit(
                    AllocateProducerIds(
                        broker_id=self._broker_id, broker_epoch=self._broker_epoch()
                    ),
                    timeout_ms=PRODUCER_ID_WAIT_MAX_MS,
                )
                self._next, self._end = block.first, block.first + block.count
            taken = self._next
            self._next += 1
        return ProducerId(taken)


def _refusal(transactional_id: str) -> OttlaError:
    if not transactional_id:
        return InvalidRequestError("the transactional id is empty; give one, or none at all")
    return UnsupportedVersionError(
        f"transactional id {transactional_id!r} asks for transactions, which this version does not "
        "have; an idempotent producer needs no transactional id"
    )
