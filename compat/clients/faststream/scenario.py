"""A FastStream application on Kafka: typed handlers, a chain of topics, batches, headers, groups.

It runs over both of FastStream's Kafka brokers: the one on aiokafka and the one on confluent-kafka.
Run it with ``python -m compat.clients.faststream.scenario 127.0.0.1:9092``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from faststream import Context
from faststream.confluent import KafkaBroker as ConfluentBroker
from faststream.kafka import KafkaBroker
from pydantic import BaseModel

from compat.clients.steps import PATIENCE_S, RECORDS, Steps, new_name


class Order(BaseModel):
    """What the handlers exchange."""

    number: int
    goods: str


async def chain(broker: Any) -> None:  # noqa: ANN401 -- two classes without a common base
    """Orders go in, a handler answers to a second topic, another one collects."""
    orders, answers = new_name("faststream-orders"), new_name("faststream-answers")
    arrived: dict[int, str] = {}
    done = asyncio.Event()

    @broker.subscriber(orders, group_id=orders, auto_offset_reset="earliest")
    @broker.publisher(answers)
    async def serve(order: Order) -> Order:
        return Order(number=order.number, goods=order.goods.upper())

    @broker.subscriber(answers, group_id=answers, auto_offset_reset="earliest")
    async def collect(order: Order) -> None:
        arrived[order.number] = order.goods
        if len(arrived) == RECORDS:
            done.set()

    async with broker:
        await broker.start()
        for i in range(RECORDS):
            await broker.publish(Order(number=i, goods=f"goods {i}"), orders, key=b"%d" % i)
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()
    assert arrived == {i: f"GOODS {i}" for i in range(RECORDS)}


async def headers(broker: Any) -> None:  # noqa: ANN401 -- two classes without a common base
    """A key, a header and a correlation id arrive with the message."""
    topic = new_name("faststream-headers")
    arrived: asyncio.Future[tuple[Any, Any]] = asyncio.get_running_loop().create_future()

    @broker.subscriber(topic, group_id=topic, auto_offset_reset="earliest")
    async def handle(body: str, message: Any = Context("message")) -> None:  # noqa: ANN401, B008 -- FastStream's way
        assert body == "hello"
        if not arrived.done():
            arrived.set_result((message.headers.get("colour"), message.correlation_id))

    async with broker:
        await broker.start()
        await broker.publish("hello", topic, headers={"colour": "red"}, correlation_id="c-1")
        async with asyncio.timeout(PATIENCE_S):
            assert await arrived == ("red", "c-1")


async def batches(broker: Any) -> None:  # noqa: ANN401 -- two classes without a common base
    """A batch is published and consumed as one."""
    topic = new_name("faststream-batches")
    arrived: list[str] = []
    done = asyncio.Event()

    @broker.subscriber(topic, group_id=topic, auto_offset_reset="earliest", batch=True)
    async def handle(bodies: list[str]) -> None:
        arrived.extend(bodies)
        if len(arrived) >= RECORDS:
            done.set()

    async with broker:
        await broker.start()
        await broker.publish_batch(*[f"{i}" for i in range(RECORDS)], topic=topic)
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()
    assert sorted(arrived, key=int) == [f"{i}" for i in range(RECORDS)]


async def main(bootstrap: str) -> int:
    """Run each step over each broker."""
    steps = Steps()
    for flavour, make in (("aiokafka", KafkaBroker), ("confluent", ConfluentBroker)):
        for name, scenario in (
            ("handlers in a chain", chain),
            ("headers and correlation id", headers),
            ("batches", batches),
        ):
            with steps(f"{name} ({flavour})"):
                await scenario(make(bootstrap.split(","), logger=None))
    return steps.status()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
