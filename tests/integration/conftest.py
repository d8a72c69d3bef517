"""Real brokers for the tests of this directory."""

from __future__ import annotations

import gc
import warnings
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


@pytest.fixture(scope="session", autouse=True)
def sockets_that_other_peoples_clients_forget() -> Iterator[None]:
    """Let the sockets go that kafka-python leaves open when a broker dies under it.

    They would be found when the run ends, and fail it after the last test.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
