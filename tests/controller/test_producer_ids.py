"""No producer id is given away twice."""

from __future__ import annotations

import pytest

from ottla.controller.requests import AllocateProducerIds, ProducerIdBlock
from ottla.model.errors import BrokerIdNotRegisteredError, StaleBrokerEpochError
from ottla.model.ids import BrokerEpoch, BrokerId, ProducerId
from tests.controller.metadata import Metadata


def test_blocks_follow_one_another_whoever_asks() -> None:
    metadata = Metadata(brokers=2)

    blocks = [metadata.allocate(broker) for broker in (1, 2, 1)]

    assert blocks == [
        ProducerIdBlock(first=ProducerId(first), count=1_000) for first in (0, 1_000, 2_000)
    ]


def test_earlier_life_of_a_broker_gets_no_block() -> None:
    metadata = Metadata(brokers=1)
    stale = AllocateProducerIds(broker_id=BrokerId(1), broker_epoch=BrokerEpoch(1))

    with pytest.raises(StaleBrokerEpochError):
        metadata.controller.decide(stale, 0)


def test_unknown_broker_gets_no_block() -> None:
    metadata = Metadata()
    unknown = AllocateProducerIds(broker_id=BrokerId(9), broker_epoch=BrokerEpoch(1))

    with pytest.raises(BrokerIdNotRegisteredError):
        metadata.controller.decide(unknown, 0)
