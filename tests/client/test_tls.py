"""Clients reach brokers over TLS, show a certificate where one is asked for, and say what is wrong.

The certificates are made afresh by the ``openssl`` command, so that none expires in the tree.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ottla.client.consumer import Consumer
from ottla.client.errors import NoBrokersAvailableError
from ottla.client.producer import Producer
from ottla.model.errors import InvalidConfigError
from ottla.security.tls import server_credentials
from tests.client.fake_broker import FakeCluster
from tests.security.test_tls import Authority

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

QUICKLY = {"connect_timeout_ms": 300, "retry_backoff_ms": 20}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pem"), "authority")


@pytest.fixture(scope="module")
def client_files(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("client")


async def serve(authority: Authority, *, mutual: bool) -> FakeCluster:
    certificate, key = authority.issue("broker")
    cluster = FakeCluster()
    cluster.create("web")
    cluster.brokers[0].credentials = server_credentials(
        certificate=certificate,
        key=key,
        ca=authority.ca if mutual else None,
        client_certificate_required=mutual,
    )
    await cluster.start()
    return cluster


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[FakeCluster]:
    cluster = await serve(authority, mutual=False)
    yield cluster
    await cluster.stop()


@pytest.fixture
async def mutual(authority: Authority) -> AsyncIterator[FakeCluster]:
    cluster = await serve(authority, mutual=True)
    yield cluster
    await cluster.stop()


async def test_records_travel_over_tls(secure: FakeCluster, authority: Authority) -> None:
    async with Producer(secure.bootstrap, ssl_ca_location=authority.ca) as producer:
        await producer.send_and_wait("web", b"x")
    async with Consumer(
        "web",
        bootstrap_servers=secure.bootstrap,
        auto_offset_reset="earliest",
        ssl_ca_location=str(authority.ca),
    ) as consumer:
        assert (await consumer.getone()).value == b"x"


async def test_broker_of_an_authority_that_is_not_trusted_is_not_talked_to(
    secure: FakeCluster, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")

    with pytest.raises(NoBrokersAvailableError, match="ssl_ca_location must hold the authority"):
        await Producer(
            secure.bootstrap,
            ssl_ca_location=stranger.ca,
            connect_timeout_ms=300,
            retry_backoff_ms=20,
        ).start()


async def test_plain_client_learns_to_check_tls(secure: FakeCluster) -> None:
    with pytest.raises(NoBrokersAvailableError, match="both sides use TLS or neither does"):
        await Producer(secure.bootstrap, connect_timeout_ms=300, retry_backoff_ms=20).start()


async def test_client_certificate_opens_a_broker_that_asks_for_one(
    mutual: FakeCluster, authority: Authority, client_files: tuple[Path, Path]
) -> None:
    certificate, key = client_files
    async with Producer(
        mutual.bootstrap,
        ssl_ca_location=authority.ca,
        ssl_certificate_location=certificate,
        ssl_key_location=key,
    ) as producer:
        assert (await producer.send_and_wait("web", b"x")).offset == 0


async def test_client_without_a_certificate_is_not_let_in(
    mutual: FakeCluster, authority: Authority
) -> None:
    with pytest.raises(NoBrokersAvailableError, match="may require a client certificate"):
        await Producer(
            mutual.bootstrap,
            ssl_ca_location=authority.ca,
            connect_timeout_ms=300,
            retry_backoff_ms=20,
        ).start()


async def test_file_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"

    with pytest.raises(InvalidConfigError, match=r"ca\.pem"):
        await Producer("127.0.0.1:1", ssl_ca_location=missing).start()
