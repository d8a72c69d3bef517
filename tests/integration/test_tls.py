"""With certificates configured, clients get in with the right ones, and are told why otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottla.testing.broker_process import BrokerDidNotStartError, BrokerProcess

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl"),
]


class Pem:
    """An authority, and certificates of it for a broker and for a client."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = self._make("ca", "-addext", "basicConstraints=critical,CA:true")
        signed = ("-CA", str(self.ca), "-CAkey", str(directory / "ca.key"))
        self.broker = self._make("broker", "-addext", "subjectAltName=IP:127.0.0.1", *signed)
        self.client = self._make("client", *signed)

    def settings(self) -> dict[str, str]:
        """The environment of a broker that asks clients for certificates."""
        return {
            "OTTLA_SSL_CERTIFICATE_LOCATION": str(self.broker),
            "OTTLA_SSL_KEY_LOCATION": str(self.broker.with_suffix(".key")),
            "OTTLA_SSL_CA_LOCATION": str(self.ca),
            "OTTLA_SSL_CLIENT_AUTH": "required",
        }

    def _make(self, name: str, *arguments: str) -> Path:
        certificate = self.directory / f"{name}.pem"
        subprocess.run(
            [
                "openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-keyout", certificate.with_suffix(".key"), "-out", certificate, *arguments,
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip
        return certificate


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Pem:
    return Pem(tmp_path_factory.mktemp("pem"))


@pytest.fixture(scope="module")
def broker(pem: Pem) -> Iterator[BrokerProcess]:
    with BrokerProcess(environment=pem.settings()) as process:
        yield process


def ottla(
    broker: BrokerProcess, *arguments: str | Path, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "ottla", "--bootstrap", broker.grpc_address, *arguments],
        check=False,
        input=stdin,
        capture_output=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")},
        timeout=60,
    )


def certificate_options(pem: Pem) -> tuple[str | Path, ...]:
    return (
        "--ssl-ca-location", pem.ca,
        "--ssl-certificate-location", pem.client,
        "--ssl-key-location", pem.client.with_suffix(".key"),
    )  # fmt: skip


def test_client_with_a_certificate_writes_and_reads(broker: BrokerProcess, pem: Pem) -> None:
    known = certificate_options(pem)

    produced = ottla(broker, *known, "produce", "secret", stdin=b"hello\n")
    consumed = ottla(broker, *known, "consume", "secret", "--from-beginning")

    assert produced.returncode == 0, produced.stderr
    assert consumed.stdout == b"hello\n"


@pytest.mark.parametrize("options", [(), ("--ssl-ca-location", "CA")], ids=["plain", "nameless"])
def test_client_without_a_certificate_is_told_to_look_at_tls(
    broker: BrokerProcess, pem: Pem, options: tuple[str, ...]
) -> None:
    arguments = [pem.ca if option == "CA" else option for option in options]

    done = ottla(broker, *arguments, "topic", "list")

    assert done.returncode == 1
    assert b"TLS" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_broker_with_unusable_files_does_not_start(pem: Pem) -> None:
    settings = pem.settings() | {
        "OTTLA_SSL_KEY_LOCATION": str(pem.client.with_suffix(".key")),
    }

    with pytest.raises(BrokerDidNotStartError, match="does not belong to the certificate"):
        BrokerProcess(environment=settings).start()
