"""One broker for the tests of a file, each on topics of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.kafka.whole.broker import WholeBroker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker() -> AsyncIterator[WholeBroker]:
    whole = await WholeBroker().open()
    yield whole
    await whole.close()
