"""A channel is to the machine for which a name stands now, not for which it stood once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ottla.cluster.grpc.channels import BrokerChannels
from ottla.config.addresses import Address

BROKER = Address("broker-0", 7_092)


class Names:
    """A name server that knows one name, or none."""

    def __init__(self) -> None:
        self.machines: frozenset[str] | None = frozenset({"192.0.2.1"})

    async def look_up(self, address: Address) -> frozenset[str]:
        if self.machines is None:
            raise OSError(f"{address.host} is not known")
        return self.machines


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def channels(names: Names) -> AsyncIterator[BrokerChannels]:
    made = BrokerChannels(look_up=names.look_up)
    yield made
    await made.close()


async def test_channel_stays_while_its_name_stands_for_the_same_machine(
    channels: BrokerChannels,
) -> None:
    assert await channels.current(BROKER) is await channels.current(BROKER)


async def test_name_that_stands_for_another_machine_has_another_channel(
    channels: BrokerChannels, names: Names
) -> None:
    before = await channels.current(BROKER)

    names.machines = frozenset({"192.0.2.2"})

    assert await channels.current(BROKER) is not before
    assert channels.to(BROKER) is not before


async def test_channel_stays_while_its_name_is_not_known(
    channels: BrokerChannels, names: Names
) -> None:
    before = await channels.current(BROKER)

    names.machines = None

    assert await channels.current(BROKER) is before


async def test_name_that_comes_back_for_another_machine_has_another_channel(
    channels: BrokerChannels, names: Names
) -> None:
    before = await channels.current(BROKER)
    names.machines = None
    await channels.current(BROKER)

    names.machines = frozenset({"192.0.2.2"})

    assert await channels.current(BROKER) is not before
