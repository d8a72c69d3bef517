"""How a client command finds its brokers: ``--bootstrap`` and the TLS files.

The same options stand before a subcommand (``ottla --bootstrap b:7092 topic list``) and after it;
the latter win. Names of the files are those of a broker's settings, ``ssl.ca.location`` and so on;
``--certs`` stands for the three that ``ottla certs create`` made for a client.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import click

if TYPE_CHECKING:
    from ottla.client.settings import ConnectionOptions
    from ottla.config.broker_config import TlsConfig

R = TypeVar("R")

BOOTSTRAP_DEFAULT: Final = "127.0.0.1:7092,127.0.0.1:7093,127.0.0.1:7094"
"""The gRPC ports of the brokers that ``ottla up`` starts: one that lives is enough."""

CLIENT_ID: Final = "ottla-cli"

CONNECT_TIMEOUT_MS: Final = 3_000
"""A broker that is just starting is ready within one second; a person does not wait for ten."""

_PROTOCOLS: Final[Mapping[bool | None, Literal["SSL", "PLAINTEXT"] | None]] = {
    None: None,
    True: "SSL",
    False: "PLAINTEXT",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What was said about the broker; ``None``: nothing."""

    bootstrap: str | None = None
    certs: Path | None = None
    ssl: bool | None = None
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None

    def over(self, other: Connection) -> Connection:
        """Return what was said here, completed by what was said in ``other``."""
        chosen: dict[str, Any] = {}
        for field in fields(Connection):
            mine = getattr(self, field.name)
            chosen[field.name] = getattr(other, field.name) if mine is None else mine
        return Connection(**chosen)

    @property
    def servers(self) -> str:
        """The addresses to try."""
        return self.bootstrap or BOOTSTRAP_DEFAULT

    def options(self) -> ConnectionOptions:
        """Return keyword arguments for any client of :mod:`ottla.client`."""
        files = self if self.certs is None else self.over(_files_of_client(self.certs))
        return {
            "client_id": CLIENT_ID,
            "connect_timeout_ms": CONNECT_TIMEOUT_MS,
            "security_protocol": _PROTOCOLS[self.ssl],
            "ssl_ca_location": files.ssl_ca_location,
            "ssl_certificate_location": files.ssl_certificate_location,
            "ssl_key_location": files.ssl_key_location,
        }


def _files_of_client(directory: Path) -> Connection:
    return Connection(
        ssl_ca_location=directory / "ca.pem",
        ssl_certificate_location=directory / "client.pem",
        ssl_key_location=directory / "client-key.pem",
    )


def options_to_reach(servers: Sequence[str], tls: TlsConfig) -> str:
    """Return what a client command needs to say to reach these brokers, with a space before it."""
    is_default = set(servers) <= set(BOOTSTRAP_DEFAULT.split(","))
    options = "" if is_default else f" --bootstrap {','.join(servers)}"
    if tls.client_certificate_required:
        return f"{options} --certs {_directory_for_clients(tls)}"
    authority = shlex.quote(str(tls.ca)) if tls.ca is not None else "FILE"
    return f"{options} --ssl-ca-location {authority}" if tls.enabled else options


def _directory_for_clients(tls: TlsConfig) -> str:
    """Return what ``--certs`` takes: where the authority is, if a client's files are there too."""
    directory = tls.ca.parent if tls.ca is not None else None
    if directory is None or not (directory / "client.pem").exists():
        return "DIR"
    return shlex.quote(str(directory))


_PATH = click.Path(dir_okay=False, path_type=Path)


def _options(*, environment: bool) -> list[Callable[[Callable[..., R]], Callable[..., R]]]:
    def variable(key: str) -> str | None:
        return f"OTTLA_{key}" if environment else None

    def file_option(what: str, text: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
        return click.option(
            f"--ssl-{what}-location",
            metavar="FILE",
            type=_PATH,
            envvar=variable(f"SSL_{what.upper()}_LOCATION"),
            help=text,
        )

    return [
        click.option(
            "--bootstrap",
            metavar="HOST:PORT",
            envvar=variable("BOOTSTRAP"),
            help="gRPC address of a broker, or of several with commas.  "
            "[default: $OTTLA_BOOTSTRAP or ports 7092 to 7094 of this machine]",
        ),
        click.option(
            "--certs",
            metavar="DIR",
            type=click.Path(file_okay=False, path_type=Path),
            envvar=variable("CERTS"),
            help="Mutual TLS with ca.pem, client.pem and client-key.pem of 'ottla certs create'.",
        ),
        click.option(
            "--ssl/--no-ssl",
            default=None,
            envvar=variable("SSL"),
            help="Connect over TLS; implied by the files below.",
        ),
        file_option("ca", "PEM file of the authorities to trust."),
        file_option("certificate", "PEM file of your certificate, for brokers that ask for one."),
        file_option("key", "PEM file of that certificate's private key."),
    ]


def connection_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options above, and its function a :class:`Connection`."""
    return _with_connection(function, environment=False)


def outermost_connection_options(function: Callable[..., R]) -> Callable[..., R]:
    """Like :func:`connection_options`, for the group of all commands.

    Only this reads the environment: what is said on the command line, in either place, outranks it.
    """
    return _with_connection(function, environment=True)


def _with_connection(function: Callable[..., R], *, environment: bool) -> Callable[..., R]:
    @functools.wraps(function)
    def with_connection(*arguments: Any, **keywords: Any) -> R:  # noqa: ANN401 -- click's
        given = {field.name: keywords.pop(field.name) for field in fields(Connection)}
        said = Connection(**given)
        outer = click.get_current_context().find_object(Connection)
        return function(
            *arguments, connection=said if outer is None else said.over(outer), **keywords
        )

    decorated: Callable[..., R] = with_connection
    for option in reversed(_options(environment=environment)):
        decorated = option(decorated)
    return decorated
