"""Fixtures of pytest: real brokers, ready in about half a second.

``pip install ottla[testing]`` brings them; nothing has to be imported. See docs/testing.md.

========================  ======================================================================
``ottla_broker``          one broker, new for the test
``ottla_cluster``         three brokers, new for the test
``ottla_shared_broker``   one broker for the whole run; each test gets it without faults
``ottla_shared_cluster``  three for the whole run, likewise
``ottla_topic``           a topic of its own on whichever of these the test uses
========================  ======================================================================

Nothing here is imported, and nothing started, before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ottla.testing.sandbox import OttlaBroker, OttlaCluster

_CLUSTERS = ("ottla_cluster", "ottla_shared_cluster")
_BROKERS = ("ottla_broker", "ottla_shared_broker")


def _cluster(size: int) -> OttlaCluster:
    from ottla.testing.sandbox import OttlaCluster  # noqa: PLC0415 -- only who uses it pays for it

    return OttlaCluster(size)


@pytest.fixture
def ottla_broker() -> Iterator[OttlaBroker]:
    """One broker that no other test has seen."""
    with _cluster(1) as cluster:
        yield cluster.brokers[0]


@pytest.fixture
def ottla_cluster() -> Iterator[OttlaCluster]:
    """Three brokers that no other test has seen."""
    with _cluster(3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _ottla_session_broker() -> Iterator[OttlaCluster]:
    with _cluster(1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _ottla_session_cluster() -> Iterator[OttlaCluster]:
    with _cluster(3) as cluster:
        yield cluster


@pytest.fixture
def ottla_shared_broker(_ottla_session_broker: OttlaCluster) -> Iterator[OttlaBroker]:
    """One broker for all tests of the run; what a test did to it is healed afterwards."""
    yield _ottla_session_broker.brokers[0]
    _ottla_session_broker.heal()


@pytest.fixture
def ottla_shared_cluster(_ottla_session_cluster: OttlaCluster) -> Iterator[OttlaCluster]:
    """Three brokers for all tests of the run; what a test did to them is healed afterwards."""
    yield _ottla_session_cluster
    _ottla_session_cluster.heal()


@pytest.fixture
def ottla_topic(request: pytest.FixtureRequest) -> str:
    """The name of a new topic with one partition, on the broker or cluster that the test uses."""
    for name in (*_CLUSTERS, *_BROKERS):
        if name in request.fixturenames:
            where: OttlaCluster | OttlaBroker = request.getfixturevalue(name)
            return where.topic()
    used: OttlaBroker = request.getfixturevalue("ottla_shared_broker")
    return used.topic()
