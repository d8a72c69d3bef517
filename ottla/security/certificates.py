"""An authority of one's own, and certificates of it, for a test or a small cluster.

====================  ==========================================================================
``ca``                signs the others and nothing else; its key is needed to add brokers later
``broker-<node.id>``  serves, and connects to the other brokers; names the hosts it is found at
any other name        a client
====================  ==========================================================================

Who a certificate is for stands in its common name; :mod:`ottla.security.identity` reads it.

Keys are on P-256, which every TLS library has and which costs a handshake least. The authority may
sign certificates, not further authorities. There is no revocation: whoever must be shut out is shut
out by a new authority, or by waiting for the end of the certificate.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ottla.model.errors import InvalidConfigError

CLOCK_SKEW = timedelta(hours=1)
"""Certificates begin this much before now: not every machine's clock is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A certificate and its private key, in PEM form."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Not for callers: :meth:`create` and :meth:`load` make one."""
        self._certificate = certificate
        self._key = key

    def __repr__(self) -> str:
        return f"<Authority {self._certificate.subject.rfc4514_string()}>"

    @classmethod
    def create(cls, name: str, *, days: int) -> Authority:
        """Make a new authority; its certificate ends after ``days``."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = _usage(signs_certificates=True)
        certificate = (
            _builder(name, _name(name), key.public_key(), days=days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, credential: Credential) -> Authority:
        """Return an authority that was made before; :exc:`InvalidConfigError` if it is none."""
        try:
            certificate = x509.load_pem_x509_certificate(credential.certificate)
            key = load_pem_private_key(credential.key, password=None)
        except (ValueError, TypeError) as error:
            raise InvalidConfigError(
                f"the authority's certificate or key cannot be read: {error}; both are PEM files, "
                "the key without a password"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidConfigError(
                "the authority's key is not one of 'ottla certs create', which are on P-256"
            )
        if key.public_key() != certificate.public_key():
            raise InvalidConfigError("the authority's key does not belong to its certificate")
        return cls(certificate, key)

    @property
    def credential(self) -> Credential:
        """The authority's own certificate and key; the key stays with who signs."""
        return _as_pem(self._certificate, self._key)

    def issue(self, name: str, *, days: int, hosts: Sequence[str] = ()) -> Credential:
        """Return a new certificate for ``name``, who is found at ``hosts``: names or addresses.

        With hosts it is good for both ends of a connection, without for a client only. It does not
        outlive the authority.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if hosts:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(
                name,
                self._certificate.subject,
                key.public_key(),
                days=days,
                end=self._certificate.not_valid_after_utc,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return _as_pem(builder.sign(self._key, hashes.SHA256()), key)


def _builder(
    name: str,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    days: int,
    end: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    ends = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(ends if end is None else min(ends, end))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _as_pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credential:
    return Credential(
        certificate=certificate.public_bytes(Encoding.PEM),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
