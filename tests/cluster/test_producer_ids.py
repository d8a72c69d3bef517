"""No producer id is given away twice, and an epoch only ever rises."""

from __future__ import annotations

import asyncio

import pytest

from ottla.cluster.producer_ids import PRODUCER_EPOCH_MAX, BrokerProducerIdsService
from ottla.controller.requests import AllocateProducerIds, ProducerIdBlock
from ottla.model.errors import InvalidRequestError, NotControllerError
from ottla.model.ids import BrokerEpoch, BrokerId, ProducerEpoch, ProducerId

BLOCK = 3


class Blocks:
    """A controller that gives blocks of three ids, or is not there."""

    def __init__(self) -> None:
        self.given = 0
        self.present = True

    async def submit(self, request: AllocateProducerIds, *, timeout_ms: int) -> ProducerIdBlock:
        assert request.broker_epoch == 7
        assert timeout_ms > 0
        await asyncio.sleep(0)
        if not self.present:
            raise NotControllerError("nobody is the controller")
        block = ProducerIdBlock(first=ProducerId(self.given * BLOCK), count=BLOCK)
        self.given += 1
        return block


def service(blocks: Blocks) -> BrokerProducerIdsService:
    return BrokerProducerIdsService(
        blocks, broker_id=BrokerId(1), broker_epoch=lambda: BrokerEpoch(7)
    )


async def test_ids_asked_for_at_the_same_time_all_differ() -> None:
    blocks = Blocks()
    ids = service(blocks)

    given = await asyncio.gather(*(ids.init_producer_id(None) for _ in range(7)))

    assert sorted(given) == [(number, 0) for number in range(7)]
    assert blocks.given == 3


async def test_epoch_is_raised_without_asking_the_controller() -> None:
    blocks = Blocks()

    raised = await service(blocks).init_producer_id((ProducerId(5), ProducerEpoch(8)))

    assert raised == (5, 9)
    assert blocks.given == 0


async def test_producer_that_has_used_up_its_epochs_gets_a_new_id() -> None:
    last = ProducerEpoch(PRODUCER_EPOCH_MAX)

    assert await service(Blocks()).init_producer_id((ProducerId(5), last)) == (0, 0)


@pytest.mark.parametrize("current", [(-1, 0), (5, -1), (5, PRODUCER_EPOCH_MAX + 1)])
async def test_id_that_was_never_given_is_an_invalid_request(current: tuple[int, int]) -> None:
    producer_id, epoch = ProducerId(current[0]), ProducerEpoch(current[1])

    with pytest.raises(InvalidRequestError):
        await service(Blocks()).init_producer_id((producer_id, epoch))


async def test_missing_controller_is_told_and_the_next_caller_tries_again() -> None:
    blocks = Blocks()
    ids = service(blocks)
    blocks.present = False
    with pytest.raises(NotControllerError):
        await ids.init_producer_id(None)
    blocks.present = True

    assert await ids.init_producer_id(None) == (0, 0)
