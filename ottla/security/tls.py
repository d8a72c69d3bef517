"""PEM files into credentials, with what is wrong with them said before anything starts.

gRPC itself takes any bytes for a certificate and reports a bad one as a connection that fails,
much later and in the log of the other side. So the files are first shown to OpenSSL, through the
standard library: are they PEM, is the key without password, do key and certificate belong
together? Every problem is an :exc:`~ottla.model.errors.InvalidConfigError` that names the file.

What is *not* checked here is whether the other side will accept the certificate: its dates, its
names, who signed it. That is decided in the handshake.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import grpc

from ottla.model.errors import InvalidConfigError

PEM_BYTES_MAX: Final = 4 << 20
"""All authorities that browsers trust are a twentieth of this."""


def server_credentials(
    *, certificate: Path, key: Path, ca: Path | None, client_certificate_required: bool
) -> grpc.ServerCredentials:
    """Return what a gRPC server needs to serve TLS; mutual TLS if clients must show certificates.

    Raises :exc:`InvalidConfigError`. Reads files: may wait for the disk.
    """
    assert ca is not None or not client_certificate_required, "nothing to check clients against"
    authorities = None if ca is None else _checked_authorities(ca)
    key_pem, certificate_pem = _checked_pair(certificate, key)
    return grpc.ssl_server_credentials(
        [(key_pem, certificate_pem)],
        root_certificates=authorities,
        require_client_auth=client_certificate_required,
    )


def server_context(
    *, certificate: Path, key: Path, ca: Path | None, client_certificate_required: bool
) -> ssl.SSLContext:
    """Return what Kafka's listeners need to serve TLS; the files mean what they mean for gRPC.

    Raises :exc:`InvalidConfigError`. Reads files: may wait for the disk.
    """
    assert ca is not None or not client_certificate_required, "nothing to check clients against"
    _checked_pair(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if ca is not None and client_certificate_required:
        _checked_authorities(ca)
        context.load_verify_locations(cafile=ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def channel_credentials(
    *, ca: Path | None, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """Return what a gRPC client needs to connect over TLS.

    ``ca`` has the authorities to trust; ``None``: those that gRPC brings along. ``certificate`` and
    ``key`` are for brokers that ask who is there (mutual TLS); both or neither.

    Raises :exc:`InvalidConfigError`. Reads files: may wait for the disk.
    """
    if (certificate is None) != (key is None):
        raise InvalidConfigError(
            f"a certificate and its private key go together: {certificate or key} is there without "
            "the other one"
        )
    authorities = None if ca is None else _checked_authorities(ca)
    key_pem = certificate_pem = None
    if certificate is not None and key is not None:
        key_pem, certificate_pem = _checked_pair(certificate, key)
    return grpc.ssl_channel_credentials(
        root_certificates=authorities, private_key=key_pem, certificate_chain=certificate_pem
    )


def peer_credentials(*, certificate: Path, key: Path, ca: Path | None) -> grpc.ChannelCredentials:
    """Return what a broker needs to connect to the other brokers of its cluster over TLS.

    It shows its own certificate, the one that it serves with, and trusts the authorities that it
    has clients checked against; without any, those that gRPC brings along.

    Raises :exc:`InvalidConfigError`. Reads files: may wait for the disk.
    """
    return channel_credentials(ca=ca, certificate=certificate, key=key)


def _checked_authorities(ca: Path) -> bytes:
    content = _read(ca, "certificates of authorities")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=ca)
    except ssl.SSLError as error:
        raise InvalidConfigError(
            f"{ca} has no certificate in PEM form (-----BEGIN CERTIFICATE-----); give a file with "
            "the certificates of the authorities to trust"
        ) from error
    return content


def _checked_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    certificate_pem = _read(certificate, "certificate")
    key_pem = _read(key, "private key")
    _check_has(certificate, certificate_pem, b"CERTIFICATE-----", "certificate")
    _check_has(key, key_pem, b"PRIVATE KEY-----", "private key")

    def no_password() -> str:
        raise InvalidConfigError(
            f"the private key {key} has a password, which nobody is there to type; "
            f"remove it with: openssl pkey -in {key} -out NEW"
        )

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidConfigError(
                f"the private key {key} does not belong to the certificate {certificate}; give the "
                "key that the certificate was made for"
            ) from error
        raise InvalidConfigError(
            f"OpenSSL cannot use the certificate {certificate} with the private key {key}: "
            f"{error.reason or error}; look at both with: openssl x509 -text, openssl pkey -check"
        ) from error
    return key_pem, certificate_pem


def _check_has(file: Path, content: bytes, label: bytes, what: str) -> None:
    if label not in content:
        raise InvalidConfigError(
            f"{file} has no {what} in PEM form (-----BEGIN ... {label.decode()}); give a PEM file"
        )


def _read(file: Path, what: str) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidConfigError(f"cannot read the {what} in {file}: {error.strerror}") from error
    if len(content) > PEM_BYTES_MAX:
        raise InvalidConfigError(f"{file} has more than {PEM_BYTES_MAX} bytes; give a PEM file")
    return content
