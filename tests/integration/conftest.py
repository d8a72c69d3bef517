"""Real brokers for the tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ottla.testing.broker_process import BrokerProcess


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker of its own for one test, with data that survives restarts."""
    with BrokerProcess(data_directory=tmp_path / "data") as process:
        yield process


@pytest.fixture(scope="module")
def shared_broker() -> Iterator[BrokerProcess]:
    """An ephemeral broker for the tests of one file, each on topics of its own."""
    with BrokerProcess() as process:
        yield process
