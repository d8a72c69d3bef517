"""``ottla up``: one broker in this process, until it is told to stop.

Only what the command takes and how that becomes a configuration; the rest is in
:mod:`ottla.cli.serving`, which brings the broker along.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import click
from click.core import ParameterSource

from ottla.cli.failure import CommandError
from ottla.cli.output import say
from ottla.config.addresses import PORT_MAX, Address
from ottla.config.broker_config import BadConfigurationError, BrokerConfig
from ottla.config.sources import Found, load_broker_config

GRPC_PORT_DEFAULT: Final = 7092
KAFKA_PORT_DEFAULT: Final = 9092
HTTP_PORT_DEFAULT: Final = 8092

_PORT = click.IntRange(min=0, max=PORT_MAX)


class Listening(NamedTuple):
    """What the flags say about addresses; ``None``: nothing."""

    host: str | None
    grpc_port: int | None
    http_port: int | None


def _parse_settings(
    context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> list[Found]:
    del context, parameter
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE")
        found.append(Found(key.strip(), value, "--set"))
    return found


@click.command
@click.option("--brokers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep data in DIR/broker-0.  [default: $XDG_DATA_HOME/ottla or ~/.local/share/ottla]",
    metavar="DIR",
)
@click.option(
    "--ephemeral", is_flag=True, help="Keep nothing: data goes when the broker does, or before."
)
@click.option("--host", metavar="ADDRESS", help="Where to listen.  [default: 127.0.0.1]")
@click.option(
    "--grpc-port", type=_PORT, help=f"0 takes any free port.  [default: {GRPC_PORT_DEFAULT}]"
)
@click.option(
    "--kafka-port",
    type=_PORT,
    default=KAFKA_PORT_DEFAULT,
    help="Reserved: this version does not speak Kafka's protocol.",
)
@click.option(
    "--http-port",
    type=_PORT,
    help=f"For /metrics, /healthz and /readyz; 0 takes any.  [default: {HTTP_PORT_DEFAULT}]",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TOML file with settings; the environment and flags outrank it.",
)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_parse_settings,
    help="Any setting of docs/configuration.md; may be repeated.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="When ready, print one line of JSON instead of text."
)
@click.pass_context
def up(
    context: click.Context,
    *,
    brokers: int,
    data: Path | None,
    ephemeral: bool,
    host: str | None,
    grpc_port: int | None,
    kafka_port: int,
    http_port: int | None,
    config_file: Path | None,
    settings: Sequence[Found],
    as_json: bool,
) -> int:
    """Start a broker and serve until stopped with Ctrl-C or SIGTERM.

    Says where it listens once it is ready. Data is kept from one start to the next.
    """
    if brokers > 1:
        raise CommandError(
            f"this version runs one broker, not {brokers}; leave --brokers out, or set it to 1"
        )
    if ephemeral and data is not None:
        raise click.UsageError("--ephemeral and --data exclude each other")
    if context.get_parameter_source("kafka_port") is not ParameterSource.DEFAULT:
        say(
            f"ottla: nothing will listen on Kafka port {kafka_port}: this version does not speak "
            "Kafka's protocol yet; use the gRPC port"
        )
    listening = Listening(host, grpc_port, http_port)
    with _data_directory(data, ephemeral=ephemeral) as directory:
        flags = [*settings]
        if ephemeral:
            flags.append(Found("log.ephemeral", "true", "--ephemeral"))
        config = _configuration(config_file, flags, directory, listening)
        from ottla.cli.serving import serve  # noqa: PLC0415 -- see above

        return serve(config, as_json=as_json)


@contextmanager
def _data_directory(data: Path | None, *, ephemeral: bool) -> Iterator[Path | None]:
    if not ephemeral:
        yield data
        return
    # Until the broker listens for it, SIGTERM is Ctrl-C, so that nothing is left behind.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="ottla-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        signal.signal(signal.SIGTERM, previous)


def _configuration(
    file: Path | None, flags: Sequence[Found], data_directory: Path | None, listening: Listening
) -> BrokerConfig:
    """Load the configuration; flags that are half an address complete what the rest says."""

    def load(flags: Sequence[Found]) -> BrokerConfig:
        return load_broker_config(
            file=file, environment=os.environ, flags=flags, data_directory=data_directory
        )

    try:
        below = load(flags)
        if listening == Listening(None, None, None):
            return below
        return load(
            [
                *flags,
                _address("grpc", below.listeners.grpc, listening.host, listening.grpc_port),
                _address("http", below.listeners.http, listening.host, listening.http_port),
            ]
        )
    except BadConfigurationError as error:
        raise CommandError(str(error)) from error


def _address(name: str, below: Address, host: str | None, port: int | None) -> Found:
    chosen = Address(
        below.host if host is None else host.strip("[]"), below.port if port is None else port
    )
    return Found(f"{name}.listen", str(chosen), f"--host and --{name}-port")
