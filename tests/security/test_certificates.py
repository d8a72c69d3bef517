"""Certificates of our own authority are good for who they say and where, and for nobody else."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ottla.model.errors import InvalidConfigError
from ottla.security.certificates import Authority, Credential
from ottla.security.identity import broker_of, common_name
from ottla.security.tls import channel_credentials, peer_credentials, server_credentials

HOSTS = ("localhost", "127.0.0.1")


class Pem:
    """Files of an authority and of what it issues."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority.create("test", days=2)
        self.ca, _ = self.write("ca", self.authority.credential)

    def write(self, name: str, credential: Credential) -> tuple[Path, Path]:
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"
        certificate.write_bytes(credential.certificate)
        key.write_bytes(credential.key)
        return certificate, key

    def issue(self, name: str, *hosts: str) -> tuple[Path, Path]:
        return self.write(name, self.authority.issue(name, days=1, hosts=hosts))

    def server(self, name: str = "broker-0", *hosts: str) -> grpc.ServerCredentials:
        certificate, key = self.issue(name, *(hosts or HOSTS))
        return server_credentials(
            certificate=certificate, key=key, ca=self.ca, client_certificate_required=True
        )


@pytest.fixture
def pem(tmp_path: Path) -> Pem:
    return Pem(tmp_path)


async def who_is_there(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """Answer with the name in the caller's certificate, and which broker it is."""
    del request
    shown = context.auth_context()
    return f"{common_name(shown)} {broker_of(shown)}".encode()


@asynccontextmanager
async def serving(credentials: grpc.ServerCredentials) -> AsyncIterator[str]:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(who_is_there)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("who", {"IsThere": handler}),)
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def answer(target: str, credentials: grpc.ChannelCredentials) -> str:
    async with grpc.aio.secure_channel(target, credentials) as channel:
        call = channel.unary_unary("/who/IsThere", bytes, bytes)
        answered: bytes = await call(b"", timeout=10)
        return answered.decode()


@contextmanager
def nobody_answers() -> Iterator[None]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        yield
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


# --- Connections ----------------------------------------------------------------------


async def test_broker_that_connects_is_known_by_its_number(pem: Pem) -> None:
    certificate, key = pem.issue("broker-12", *HOSTS)

    async with serving(pem.server()) as target:
        known = peer_credentials(certificate=certificate, key=key, ca=pem.ca)

        assert await answer(target, known) == "broker-12 12"


async def test_client_is_known_by_its_name_and_is_no_broker(pem: Pem) -> None:
    certificate, key = pem.issue("billing")

    async with serving(pem.server()) as target:
        known = channel_credentials(ca=pem.ca, certificate=certificate, key=key)

        assert await answer(target, known) == "billing None"


async def test_stranger_without_a_certificate_gets_nowhere(pem: Pem) -> None:
    async with serving(pem.server()) as target:
        with nobody_answers():
            await answer(target, channel_credentials(ca=pem.ca))


async def test_certificate_of_another_authority_gets_nowhere(pem: Pem, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Pem(tmp_path / "other")
    certificate, key = other.issue("broker-1", *HOSTS)

    async with serving(pem.server()) as target:
        with nobody_answers():
            await answer(target, peer_credentials(certificate=certificate, key=key, ca=pem.ca))


async def test_broker_is_not_believed_where_its_certificate_does_not_say(pem: Pem) -> None:
    certificate, key = pem.issue("broker-1", *HOSTS)

    async with serving(pem.server("broker-0", "elsewhere.example")) as target:
        with nobody_answers():
            await answer(target, peer_credentials(certificate=certificate, key=key, ca=pem.ca))


async def test_client_cannot_pass_for_a_broker_that_serves(pem: Pem) -> None:
    certificate, key = pem.issue("broker-1", *HOSTS)
    client, client_key = pem.issue("billing")
    pretending = server_credentials(
        certificate=client, key=client_key, ca=pem.ca, client_certificate_required=True
    )

    async with serving(pretending) as target:
        with nobody_answers():
            await answer(target, peer_credentials(certificate=certificate, key=key, ca=pem.ca))


# --- What a certificate says ----------------------------------------------------------


def test_certificate_names_its_hosts_and_ends_when_it_was_told_to() -> None:
    authority = Authority.create("test", days=30)

    issued = authority.issue("broker-0", days=10, hosts=["a.example", "10.0.0.1", "::1"])

    certificate = x509.load_pem_x509_certificate(issued.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_address("::1"),
    ]
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "broker-0"
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=9, hours=23) < left <= timedelta(days=10)


def test_certificate_does_not_outlive_its_authority() -> None:
    authority = Authority.create("test", days=1)

    issued = authority.issue("client", days=1_000)

    certificate = x509.load_pem_x509_certificate(issued.certificate)
    assert certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=2)


def test_authority_that_is_loaded_signs_as_before() -> None:
    first = Authority.create("test", days=2)

    issued = Authority.load(first.credential).issue("client", days=1)

    x509.load_pem_x509_certificate(issued.certificate).verify_directly_issued_by(
        x509.load_pem_x509_certificate(first.credential.certificate)
    )


@pytest.mark.parametrize("broken", ["certificate", "key"])
def test_authority_that_cannot_be_read_is_refused(broken: str) -> None:
    sound = Authority.create("test", days=2).credential
    files = {"certificate": sound.certificate, "key": sound.key, broken: b"junk"}

    with pytest.raises(InvalidConfigError, match="cannot be read"):
        Authority.load(Credential(**files))


def test_authority_with_the_key_of_another_is_refused() -> None:
    one, other = (Authority.create("test", days=2).credential for _ in range(2))

    with pytest.raises(InvalidConfigError, match="does not belong to its certificate"):
        Authority.load(Credential(certificate=one.certificate, key=other.key))


@pytest.mark.parametrize(
    ("name", "broker"),
    [
        ("broker-0", 0),
        ("broker-2147483647", 2_147_483_647),
        ("broker-2147483648", None),
        ("broker-01", None),
        ("broker-1\n", None),
        ("xbroker-1", None),
        ("client", None),
    ],
)
def test_only_the_exact_name_of_a_broker_is_one(name: str, broker: int | None) -> None:
    assert broker_of({"x509_common_name": [name.encode()]}) == broker


def test_peer_that_shows_two_names_or_none_is_nobody() -> None:
    assert broker_of({"x509_common_name": [b"broker-0", b"broker-1"]}) is None
    assert broker_of({}) is None
