"""What a broker says that a client has to type to reach it works as it stands."""

from __future__ import annotations

from pathlib import Path

from ottla.cli.connection import options_to_reach
from ottla.config.broker_config import TlsConfig

DEFAULT = ["127.0.0.1:7092"]


def tls(directory: Path, *, mutual: bool) -> TlsConfig:
    return TlsConfig(
        certificate=directory / "broker-0.pem",
        key=directory / "broker-0-key.pem",
        ca=directory / "ca.pem",
        client_certificate_required=mutual,
    )


def test_default_ports_need_nothing() -> None:
    plain = TlsConfig(certificate=None, key=None, ca=None, client_certificate_required=False)

    assert options_to_reach(DEFAULT, plain) == ""
    assert options_to_reach(["b:1", "c:2"], plain) == " --bootstrap b:1,c:2"


def test_directory_with_the_files_of_a_client_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "my certs"
    directory.mkdir()
    (directory / "client.pem").touch()

    assert options_to_reach(DEFAULT, tls(directory, mutual=True)) == f" --certs '{directory}'"


def test_directory_without_them_is_not(tmp_path: Path) -> None:
    assert options_to_reach(DEFAULT, tls(tmp_path, mutual=True)) == " --certs DIR"


def test_authority_is_named_where_clients_show_no_certificate(tmp_path: Path) -> None:
    said = options_to_reach(DEFAULT, tls(tmp_path, mutual=False))

    assert said == f" --ssl-ca-location {tmp_path / 'ca.pem'}"
