"""``ottla certs create`` leaves files that a cluster can use, and touches none that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.cli.connection import Connection
from ottla.cli.main import run
from ottla.security.tls import channel_credentials, peer_credentials

CaptureFixture = pytest.CaptureFixture[str]


def create(out: Path, *arguments: str) -> int:
    return run(["certs", "create", "--out", str(out), *arguments])


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_every_broker_and_client_has_files_that_go_together(tmp_path: Path) -> None:
    out = tmp_path / "made" / "certs"

    assert create(out, "--brokers", "2") == 0

    names = {file.name for file in out.iterdir()}
    assert names == {
        f"{name}{ending}"
        for name in ("ca", "broker-0", "broker-1", "client")
        for ending in (".pem", "-key.pem")
    }
    for name in ("broker-0", "broker-1", "client"):
        peer_credentials(
            certificate=out / f"{name}.pem", key=out / f"{name}-key.pem", ca=out / "ca.pem"
        )


def test_keys_are_for_their_owners_eyes(tmp_path: Path) -> None:
    create(tmp_path)

    for key in tmp_path.glob("*-key.pem"):
        assert key.stat().st_mode & 0o777 == 0o600


def test_second_run_adds_and_overwrites_nothing(tmp_path: Path, capsys: CaptureFixture) -> None:
    create(tmp_path)
    before = contents(tmp_path)

    assert create(tmp_path, "--brokers", "4", "--client", "billing") == 0

    after = contents(tmp_path)
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {
        "broker-3.pem", "broker-3-key.pem", "billing.pem", "billing-key.pem"
    }  # fmt: skip
    assert "broker-0.pem is there already and is kept" in capsys.readouterr().err


def test_it_says_what_to_do_next(tmp_path: Path, capsys: CaptureFixture) -> None:
    create(tmp_path)

    advice = capsys.readouterr().out
    assert f"ottla up --brokers 3 --certs {tmp_path}" in advice
    assert f"OTTLA_SSL_CERTIFICATE_LOCATION={tmp_path / 'broker-0.pem'}" in advice


@pytest.mark.parametrize("name", ["ca", "broker-1", "../x", "", "a b", "x" * 65])
def test_name_that_is_no_clients_is_refused(
    tmp_path: Path, capsys: CaptureFixture, name: str
) -> None:
    assert create(tmp_path / "out", "--client", name) == 1
    assert "cannot be a client's name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("host", ["a.example:7092", "a b", "", "-x", "ä.example"])
def test_host_that_is_none_is_refused(tmp_path: Path, capsys: CaptureFixture, host: str) -> None:
    assert create(tmp_path / "out", "--host", host) == 1
    assert "neither a host name nor an address" in capsys.readouterr().err


def test_half_an_authority_is_not_replaced(tmp_path: Path, capsys: CaptureFixture) -> None:
    create(tmp_path)
    (tmp_path / "ca-key.pem").unlink()

    assert create(tmp_path, "--brokers", "4") == 1

    assert "ca.pem is there and" in capsys.readouterr().err
    assert not (tmp_path / "broker-3.pem").exists()


def test_directory_that_cannot_be_made_is_named(tmp_path: Path, capsys: CaptureFixture) -> None:
    (tmp_path / "file").touch()

    assert create(tmp_path / "file" / "below") == 1
    assert f"cannot use {tmp_path / 'file'}" in capsys.readouterr().err


def test_one_option_gives_a_client_its_files(tmp_path: Path) -> None:
    create(tmp_path)

    options = Connection(certs=tmp_path).options()

    assert options["ssl_ca_location"] == tmp_path / "ca.pem"
    channel_credentials(
        ca=tmp_path / "ca.pem",
        certificate=tmp_path / "client.pem",
        key=tmp_path / "client-key.pem",
    )
    assert options["ssl_certificate_location"] == tmp_path / "client.pem"
    assert options["ssl_key_location"] == tmp_path / "client-key.pem"


def test_file_that_is_named_outranks_the_directory() -> None:
    options = Connection(certs=Path("certs"), ssl_ca_location=Path("mine.pem")).options()

    assert options["ssl_ca_location"] == Path("mine.pem")
