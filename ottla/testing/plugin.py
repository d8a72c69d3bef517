"""Fixtures of pytest: real brokers, ready in a fraction of a second. See docs/testing.md.

========================  ======================================================================
``ottla_broker``          one broker, new for the test
``ottla_cluster``         three brokers, new for the test
``ottla_shared_broker``   one broker for the whole run; each test gets it without faults
``ottla_shared_cluster``  three for the whole run, likewise
``ottla_topic``           a topic of its own on whichever of these the test uses
``ottla_settings``        what the brokers of a whole suite are told; to be overridden
========================  ======================================================================

``@pytest.mark.ottla(size=5, settings={...})`` is for the new ones of one test. A test that fails
shows what its brokers logged last.

``pip install ottla[testing]`` brings the fixtures, and nothing has to be imported. Of Ottla,
nothing else is imported before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from ottla.testing.sandbox import OttlaBroker, OttlaCluster

MARKER: Final = (
    "ottla(size=None, settings={}): how many brokers ottla_cluster has, and settings of the "
    "brokers of ottla_cluster and ottla_broker, by key"
)
LOG_LINES_SHOWN: Final = 30

_NEW: Final = ("ottla_cluster", "ottla_broker")
_SHARED: Final = ("ottla_shared_cluster", "ottla_shared_broker")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin with what the first broker would wait for, if there is a test that wants one."""
    wanted = {*_NEW, *_SHARED, "ottla_topic"}
    if session.config.option.collectonly:
        return
    if any(wanted.intersection(getattr(item, "fixturenames", ())) for item in session.items):
        from ottla.testing import nursery  # noqa: PLC0415 -- only who uses it pays for it

        nursery.warm_up()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a test that failed what its brokers logged last."""
    report = yield
    if report.failed:
        found: dict[str, object] = getattr(item, "funcargs", {})
        for name in (*_NEW, *_SHARED):
            used: Any = found.get(name)
            for broker in getattr(used, "brokers", () if used is None else (used,)):
                if lines := broker.log().splitlines()[-LOG_LINES_SHOWN:]:
                    report.sections.append((f"Log of {broker!r}", "\n".join(lines)))
    return report


# --- Settings ---


@pytest.fixture(scope="session")
def ottla_settings() -> Mapping[str, str]:
    """Settings of all brokers, by key. Override it in the ``conftest.py`` of a suite."""
    return {}


def _marked(request: pytest.FixtureRequest) -> tuple[int | None, Mapping[str, str]]:
    """Return what the markers of a test say, the nearest outranking the others."""
    size: int | None = None
    settings: dict[str, str] = {}
    for marker in reversed(list(request.node.iter_markers("ottla"))):
        if marker.args or marker.kwargs.keys() - {"size", "settings"}:
            raise pytest.UsageError(f"@pytest.mark.ottla takes size= and settings=, not {marker}")
        size = marker.kwargs.get("size", size)
        settings |= marker.kwargs.get("settings", {})
    return size, settings


@contextmanager
def _cluster(size: int, settings: Mapping[str, str]) -> Iterator[OttlaCluster]:
    from ottla.testing.sandbox import (  # noqa: PLC0415 -- only who uses it pays for it
        BrokerDidNotStartError,
        OttlaCluster,
    )

    cluster = OttlaCluster(size, settings)
    try:
        cluster.start()
    except BrokerDidNotStartError as error:
        # The reason is in what the broker said, not in where that was noticed.
        pytest.fail(str(error), pytrace=False)
    with cluster:
        yield cluster


# --- New ones ---


@pytest.fixture
def ottla_broker(
    request: pytest.FixtureRequest, ottla_settings: Mapping[str, str]
) -> Iterator[OttlaBroker]:
    """One broker that no other test has seen."""
    size, settings = _marked(request)
    if size not in {None, 1} and "ottla_cluster" not in request.fixturenames:
        raise pytest.UsageError("@pytest.mark.ottla(size=...) is for the fixture ottla_cluster")
    with _cluster(1, {**ottla_settings, **settings}) as cluster:
        yield cluster.brokers[0]


@pytest.fixture
def ottla_cluster(
    request: pytest.FixtureRequest, ottla_settings: Mapping[str, str]
) -> Iterator[OttlaCluster]:
    """Three brokers that no other test has seen."""
    size, settings = _marked(request)
    with _cluster(size or 3, {**ottla_settings, **settings}) as cluster:
        yield cluster


# --- Shared ones ---


@pytest.fixture(scope="session")
def _ottla_session_broker(ottla_settings: Mapping[str, str]) -> Iterator[OttlaCluster]:
    with _cluster(1, ottla_settings) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _ottla_session_cluster(ottla_settings: Mapping[str, str]) -> Iterator[OttlaCluster]:
    with _cluster(3, ottla_settings) as cluster:
        yield cluster


@pytest.fixture
def ottla_shared_broker(
    request: pytest.FixtureRequest, _ottla_session_broker: OttlaCluster
) -> Iterator[OttlaBroker]:
    """One broker for all tests of the run; what a test did to it is healed afterwards."""
    with _healed(request, _ottla_session_broker):
        yield _ottla_session_broker.brokers[0]


@pytest.fixture
def ottla_shared_cluster(
    request: pytest.FixtureRequest, _ottla_session_cluster: OttlaCluster
) -> Iterator[OttlaCluster]:
    """Three brokers for all tests of the run; what a test did to them is healed afterwards."""
    with _healed(request, _ottla_session_cluster):
        yield _ottla_session_cluster


@contextmanager
def _healed(request: pytest.FixtureRequest, cluster: OttlaCluster) -> Iterator[None]:
    if any(_marked(request)) and not set(_NEW).intersection(request.fixturenames):
        raise pytest.UsageError(
            "@pytest.mark.ottla is for tests with a broker or cluster of their own; the fixture "
            "ottla_settings is for the shared ones"
        )
    for broker in cluster.brokers:
        broker.forget()
    yield
    cluster.heal()


@pytest.fixture
def ottla_topic(request: pytest.FixtureRequest) -> str:
    """The name of a new topic with one partition, on the broker or cluster that the test uses."""
    name = next(
        (name for name in (*_NEW, *_SHARED) if name in request.fixturenames), "ottla_shared_broker"
    )
    used: OttlaCluster | OttlaBroker = request.getfixturevalue(name)
    return used.topic()
