"""The work of ``ottla certs``: files that are not there yet, keys for their owner's eyes only."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ottla.cli.failure import CommandError
from ottla.cli.output import say
from ottla.config.sources import environment_variable
from ottla.security.certificates import Authority, Credential
from ottla.security.identity import BROKER_NAME_PREFIX

AUTHORITY: Final = "ca"
CLIENT_DEFAULT: Final = "client"
"""Whose files ``--certs`` takes."""

AUTHORITY_NAME: Final = "Ottla cluster authority"

HERE: Final = ("localhost", "127.0.0.1", "::1")
"""Hosts of every broker's certificate."""

_CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_*]([A-Za-z0-9_.*-]*[A-Za-z0-9])?\Z")
_KEY_MODE: Final = 0o600
_CERTIFICATE_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o755


def create_certificates(
    out: Path, *, brokers: int, hosts: Sequence[str], clients: Sequence[str], days: int
) -> None:
    """Make what is missing in ``out``, and say what to do with it.

    Raises :exc:`CommandError` if a name cannot be one, or the files cannot be written.
    """
    _check_names(hosts, clients)
    names = [f"{BROKER_NAME_PREFIX}{node_id}" for node_id in range(brokers)]
    try:
        out.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        authority = _authority(out, days)
        found_at = _distinct([*HERE, *_own_names(), *hosts])
        for name in names:
            _add(out, name, authority, hosts=[*found_at, name], days=days)
        for name in _distinct(clients):
            _add(out, name, authority, hosts=(), days=days)
    except OSError as error:
        raise CommandError(
            f"cannot use {error.filename or out}: {error.strerror}; choose another directory with "
            "--out"
        ) from error
    print(_advice(out, brokers, clients[0]))


def _check_names(hosts: Sequence[str], clients: Sequence[str]) -> None:
    for client in clients:
        is_taken = client == AUTHORITY or client.startswith(BROKER_NAME_PREFIX)
        if is_taken or not _CLIENT_NAME.match(client):
            raise CommandError(
                f"{client!r} cannot be a client's name: it takes up to 64 letters, digits, '.', '_'"
                f" and '-', and neither '{AUTHORITY}' nor a name that begins with "
                f"'{BROKER_NAME_PREFIX}', which are the authority's and the brokers'"
            )
    for host in hosts:
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            continue
        if not _HOST_NAME.match(host):
            raise CommandError(f"{host!r} is neither a host name nor an address; give no port")


def _own_names() -> list[str]:
    """Return the machine's name, if it can stand in a certificate."""
    name = socket.gethostname()
    return [name] if _HOST_NAME.match(name) else []


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _authority(out: Path, days: int) -> Authority:
    certificate, key = _files(out, AUTHORITY)
    match certificate.exists(), key.exists():
        case False, False:
            authority = Authority.create(AUTHORITY_NAME, days=days)
            _write(out, AUTHORITY, authority.credential)
            return authority
        case True, True:
            say(f"{certificate} is there already and signs what is added")
            return Authority.load(
                Credential(certificate=certificate.read_bytes(), key=key.read_bytes())
            )
        case has_certificate, _:
            there, missing = (certificate, key) if has_certificate else (key, certificate)
            raise CommandError(
                f"{there} is there and {missing} is not; bring that back to add certificates of "
                "the same authority, or choose an empty directory with --out"
            )


def _add(out: Path, name: str, authority: Authority, *, hosts: Sequence[str], days: int) -> None:
    present = [file for file in _files(out, name) if file.exists()]
    if present:
        say(f"{present[0]} is there already and is kept")
        return
    _write(out, name, authority.issue(name, hosts=hosts, days=days))


def _files(out: Path, name: str) -> tuple[Path, Path]:
    return out / f"{name}.pem", out / f"{name}-key.pem"


def _write(out: Path, name: str, credential: Credential) -> None:
    certificate, key = _files(out, name)
    # The key first: without its certificate it is of no use, and a second run says so.
    _create(key, credential.key, _KEY_MODE)
    _create(certificate, credential.certificate, _CERTIFICATE_MODE)


def _create(file: Path, content: bytes, mode: int) -> None:
    """Write a file that must not be there; nobody else can look into it in between."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def _advice(out: Path, brokers: int, client: str) -> str:
    known = f"--certs {out}"
    if client != CLIENT_DEFAULT:
        files = (("ca", "ca"), ("certificate", client), ("key", f"{client}-key"))
        known = " ".join(f"--ssl-{what}-location {out}/{name}.pem" for what, name in files)
    variables = "\n".join(
        f"  {environment_variable(key)}={file}"
        for key, file in (
            ("ssl.ca.location", out / "ca.pem"),
            ("ssl.certificate.location", out / "broker-0.pem"),
            ("ssl.key.location", out / "broker-0-key.pem"),
        )
    )
    return (
        f"Certificates of {brokers} brokers and of {client} are in {out}.\n\n"
        f"On this machine     ottla up --brokers {brokers} --certs {out}\n"
        f"As a client         ottla {known} topic list\n\n"
        "On several machines give each broker ca.pem and its own two files, and set, e.g. for "
        f"broker 0:\n{variables}\n\n"
        "Keep ca-key.pem away from the brokers: whoever has it can make certificates."
    )
