"""Who waits for an image gets the first one that satisfies, after those who follow all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ottla.cluster.metadata_cache import MetadataCache
from ottla.model.errors import RequestTimedOutError
from ottla.model.ids import MetadataOffset
from ottla.model.image import ClusterImage

EMPTY = ClusterImage(cluster_id="c")


def image(offset: int) -> ClusterImage:
    return replace(EMPTY, metadata_offset=MetadataOffset(offset))


def at_least(offset: int):  # type: ignore[no-untyped-def] # noqa: ANN201
    return lambda seen: seen.metadata_offset >= offset


async def test_present_image_is_not_waited_for() -> None:
    cache = MetadataCache(image(3))

    found = await cache.wait_for(at_least(2), timeout_ms=0, what="it")

    assert found is cache.image


async def test_waiter_gets_the_first_image_that_satisfies_it() -> None:
    cache = MetadataCache(EMPTY)
    waiting = asyncio.create_task(cache.wait_for(at_least(2), timeout_ms=10_000, what="it"))
    await asyncio.sleep(0)

    for offset in (1, 2, 3):
        cache.publish(image(offset))

    assert (await waiting).metadata_offset == 2


async def test_listeners_hear_before_waiters_go_on() -> None:
    cache, heard = MetadataCache(EMPTY), []
    cache.subscribe(lambda seen: heard.append(seen.metadata_offset))
    waiting = asyncio.create_task(cache.wait_for(at_least(1), timeout_ms=10_000, what="it"))
    await asyncio.sleep(0)

    cache.publish(image(1))

    await waiting
    assert heard == [1]


async def test_wait_ends_with_its_time_and_says_what_did_not_happen() -> None:
    cache = MetadataCache(EMPTY)

    with pytest.raises(RequestTimedOutError, match="the election did not happen within 1 ms"):
        await cache.wait_for(at_least(1), timeout_ms=1, what="the election")


async def test_image_that_goes_back_is_a_bug() -> None:
    cache = MetadataCache(image(3))

    with pytest.raises(AssertionError):
        cache.publish(image(2))
