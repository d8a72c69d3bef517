"""TLS files that work make credentials that work; the others are refused by name, at once.

The certificates are made afresh by the ``openssl`` command, so that none expires in the tree.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from ottla.model.errors import InvalidConfigError
from ottla.security.tls import channel_credentials, server_credentials

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


class Authority:
    """Signs certificates for 127.0.0.1 into a directory of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.ca = directory / f"{name}.pem"
        self._key = directory / f"{name}.key"
        self._make(self.ca, self._key, name, "-addext", "basicConstraints=critical,CA:true")

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate and of its private key."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        self._make(
            certificate, key, name,
            "-addext", "subjectAltName=IP:127.0.0.1",
            "-CA", str(self.ca), "-CAkey", str(self._key),
        )  # fmt: skip
        return certificate, key

    def _make(self, certificate: Path, key: Path, name: str, *arguments: str) -> None:
        openssl(
            "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-keyout", str(key), "-out", str(certificate), *arguments,
        )  # fmt: skip


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pem"), "authority")


@pytest.fixture(scope="module")
def broker(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("broker")


@pytest.fixture(scope="module")
def client(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("client")


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(InvalidConfigError) as refused:
        make()
    return str(refused.value)


def serve(broker: tuple[Path, Path], authority: Authority | None = None) -> object:
    return server_credentials(
        certificate=broker[0],
        key=broker[1],
        ca=authority.ca if authority else None,
        client_certificate_required=authority is not None,
    )


async def shakes_hands(
    server_side: grpc.ServerCredentials, client_side: grpc.ChannelCredentials
) -> bool:
    """Whether a client with these credentials gets as far as an answer from such a server."""
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", server_side)
    await server.start()
    try:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", client_side) as channel:
            call = channel.unary_unary("/none/None", bytes, bytes)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call(b"", timeout=5)
            return error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        await server.stop(None)


async def test_client_that_trusts_the_authority_connects(
    authority: Authority, broker: tuple[Path, Path]
) -> None:
    server_side = server_credentials(
        certificate=broker[0], key=broker[1], ca=None, client_certificate_required=False
    )

    assert await shakes_hands(server_side, channel_credentials(ca=authority.ca))


async def test_client_that_trusts_another_authority_does_not_connect(
    broker: tuple[Path, Path], tmp_path: Path
) -> None:
    server_side = server_credentials(
        certificate=broker[0], key=broker[1], ca=None, client_certificate_required=False
    )
    stranger = Authority(tmp_path, "stranger")

    assert not await shakes_hands(server_side, channel_credentials(ca=stranger.ca))


async def test_client_without_a_certificate_is_refused_where_one_is_required(
    authority: Authority, broker: tuple[Path, Path], client: tuple[Path, Path]
) -> None:
    server_side = server_credentials(
        certificate=broker[0], key=broker[1], ca=authority.ca, client_certificate_required=True
    )
    known = channel_credentials(ca=authority.ca, certificate=client[0], key=client[1])

    assert await shakes_hands(server_side, known)
    assert not await shakes_hands(server_side, channel_credentials(ca=authority.ca))


def test_missing_file_is_named(broker: tuple[Path, Path], tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"

    assert refusal(lambda: serve((missing, broker[1]))) == (
        f"cannot read the certificate in {missing}: No such file or directory"
    )


def test_key_of_another_certificate_is_refused(
    broker: tuple[Path, Path], client: tuple[Path, Path]
) -> None:
    said = refusal(lambda: serve((broker[0], client[1])))

    assert said.startswith(f"the private key {client[1]} does not belong to the certificate")


def test_file_that_is_not_pem_is_refused(broker: tuple[Path, Path], tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"\x30\x82\x01\x0a")

    assert f"{junk} has no certificate in PEM form" in refusal(lambda: serve((junk, broker[1])))
    assert f"{junk} has no private key in PEM form" in refusal(lambda: serve((broker[0], junk)))
    assert f"{junk} has no certificate in PEM" in refusal(lambda: channel_credentials(ca=junk))


def test_certificate_and_key_swapped_are_refused(broker: tuple[Path, Path]) -> None:
    assert "has no certificate in PEM form" in refusal(lambda: serve((broker[1], broker[0])))


def test_key_with_a_password_is_refused(broker: tuple[Path, Path], tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", str(broker[1]), "-aes256", "-passout", "pass:x", "-out", str(locked))

    assert f"{locked} has a password" in refusal(lambda: serve((broker[0], locked)))


def test_damaged_certificate_is_refused(broker: tuple[Path, Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.pem"
    damaged.write_bytes(broker[0].read_bytes()[:200] + b"\n-----END CERTIFICATE-----\n")

    assert "OpenSSL cannot use the certificate" in refusal(lambda: serve((damaged, broker[1])))


def test_certificate_without_its_key_is_refused(client: tuple[Path, Path]) -> None:
    said = refusal(lambda: channel_credentials(ca=None, certificate=client[0]))

    assert said.startswith("a certificate and its private key go together")
