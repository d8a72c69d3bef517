"""``ottla up``: a cluster on this machine, or one broker, until it is told to stop.

Only what the command takes and how that becomes settings. Several brokers are processes of their
own (:mod:`ottla.cli.cluster_up`); one broker lives in this process (:mod:`ottla.cli.serving`).
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from ottla.cli.broker_options import Sources, data_option, load, source_options
from ottla.cli.cluster_plan import (
    UP_DEFAULTS,
    Wanted,
    certificate_settings,
    chosen_address,
    chosen_listeners,
    plan_cluster,
)
from ottla.config.addresses import PORT_MAX
from ottla.config.broker_config import BrokerConfig
from ottla.config.listeners import write_listeners
from ottla.config.sources import Found

BROKERS_DEFAULT: Final = 3
BROKERS_MAX: Final = 64
"""Each is a process; a machine has no more cores to offer than this, or hardly ever."""

GRPC_PORT_DEFAULT: Final = 7092
KAFKA_PORT_DEFAULT: Final = 9092
HTTP_PORT_DEFAULT: Final = 8092

_PORT = click.IntRange(min=0, max=PORT_MAX)


@click.command
@click.option(
    "--brokers",
    type=click.IntRange(min=1, max=BROKERS_MAX),
    default=BROKERS_DEFAULT,
    show_default=True,
    metavar="N",
    help="How many. Three keep three copies of everything; one serves in this process.",
)
@data_option("Keep data in DIR/broker-0, DIR/broker-1 and so on.")
@click.option(
    "--ephemeral", is_flag=True, help="Keep nothing: data goes when the brokers do, or before."
)
@click.option("--host", metavar="ADDRESS", help="Where to listen.  [default: 127.0.0.1]")
@click.option(
    "--grpc-port",
    type=_PORT,
    help="Of the first broker, the others take the ports after it; 0 takes any free ones.  "
    f"[default: {GRPC_PORT_DEFAULT}]",
)
@click.option(
    "--kafka-port",
    type=_PORT,
    help=f"For clients of Kafka; as with --grpc-port.  [default: {KAFKA_PORT_DEFAULT}]",
)
@click.option(
    "--http-port",
    type=_PORT,
    help="For /metrics, /healthz and /readyz; as with --grpc-port.  "
    f"[default: {HTTP_PORT_DEFAULT}]",
)
@click.option(
    "--certs",
    "certificates",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Mutual TLS, with the files that 'ottla certs create' made.",
)
@click.option("--no-restart", is_flag=True, help="Leave a broker that dies as it is.")
@source_options
def up(
    *,
    brokers: int,
    data: Path | None,
    ephemeral: bool,
    host: str | None,
    grpc_port: int | None,
    kafka_port: int | None,
    http_port: int | None,
    certificates: Path | None,
    no_restart: bool,
    config_file: Path | None,
    settings: Sequence[Found],
    as_json: bool,
) -> int:
    """Start a cluster on this machine and serve until stopped with Ctrl-C or SIGTERM.

    Says where the brokers listen once all are ready. Data is kept from one start to the next. A
    broker that dies is started again. What is said about settings holds for all brokers.
    """
    if ephemeral and data is not None:
        raise click.UsageError("--ephemeral and --data exclude each other")
    with _data_directory(data, ephemeral=ephemeral) as directory:
        flags = [Found("log.ephemeral", "true", "--ephemeral")] if ephemeral else []
        wanted = Wanted(
            count=brokers,
            sources=Sources(config_file, settings, directory),
            flags=flags,
            certificates=None if certificates is None else certificates.absolute(),
            host=host,
            grpc_port=grpc_port,
            kafka_port=kafka_port,
            http_port=http_port,
        )
        if brokers == 1:
            config = _configuration(wanted)
            from ottla.cli.serving import serve  # noqa: PLC0415 -- brings the broker along

            return serve(config, as_json=as_json)
        plan = plan_cluster(wanted)
        from ottla.cli.cluster_up import run_cluster  # noqa: PLC0415 -- one broker has no use

        return run_cluster(plan, wanted.sources, restart=not no_restart, as_json=as_json)


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


def _configuration(wanted: Wanted) -> BrokerConfig:
    """Load the configuration of one broker; half an address completes what the rest says."""
    flags = [
        *wanted.flags,
        *(Found(*pair, "--certs") for pair in certificate_settings(wanted.certificates, 0).items()),
    ]
    below = load(wanted.sources, flags=flags, defaults=UP_DEFAULTS)
    ports = (wanted.grpc_port, wanted.kafka_port, wanted.http_port)
    if wanted.host is None and ports == (None, None, None):
        return below
    grpc = chosen_address(below.listeners.grpc, host=wanted.host, port=wanted.grpc_port)
    kafka = chosen_listeners(below.listeners.kafka, host=wanted.host, port=wanted.kafka_port)
    http = chosen_address(below.listeners.http, host=wanted.host, port=wanted.http_port)
    return load(
        wanted.sources,
        flags=[
            *flags,
            Found("grpc.listen", str(grpc), "--host and --grpc-port"),
            Found("listeners", write_listeners(kafka), "--host and --kafka-port"),
            Found("http.listen", str(http), "--host and --http-port"),
        ],
        defaults=UP_DEFAULTS,
    )
