"""The life of one broker's process: start, say so, wait, stop.

Nothing is said before everything listens. The first SIGINT or SIGTERM stops the broker in good
order, in the middle of its start as well; the second does not wait any longer. Being told to stop
is how a broker ends, so that is status 0; a broker that ends by itself is status 1.

A broker that ``ottla up`` supervises also stops when its standard input ends, which is what the
supervisor holds: then all brokers of the cluster stop together, or their supervisor has died and
nobody is left to stop them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from typing import Final

import uvloop

from ottla import __version__
from ottla.broker import Broker, BrokerAddresses
from ottla.cli.connection import options_to_reach
from ottla.cli.failure import CommandError
from ottla.cli.output import print_json, say
from ottla.cli.ports import Door, check_door
from ottla.config.addresses import Address
from ottla.config.broker_config import BrokerConfig, TlsConfig
from ottla.model.errors import OttlaError
from ottla.runtime.logging import Event, Format, Severity, configure, emit
from ottla.runtime.memory import keep_freed_memory
from ottla.runtime.posix import raise_open_files_limit

OPEN_TO_ALL: Final = Event("broker.open_to_all", Severity.WARNING)
"""The broker listens where other machines reach it, and does not ask who is there."""

FORCED: Final = 130
"""Exit status after a second Ctrl-C: what was not synced is recovered at the next start."""

_SUPERVISOR_BYTES: Final = 4096


def serve(
    config: BrokerConfig, *, as_json: bool, by_flags: bool = True, supervised: bool = False
) -> int:
    """Run a broker until it is told to stop; return the exit status.

    ``by_flags`` says whether the command takes ports as flags, for the advice about taken ones.

    Raises :exc:`CommandError` if it cannot start, or failed.
    """
    configure(
        form=Format(config.diagnostics.format),
        severity=Severity[config.diagnostics.level.upper()],
    )
    keep_freed_memory()
    raise_open_files_limit()
    check_door(Door("gRPC", config.listeners.grpc, by_flags=by_flags))
    for listener in config.listeners.kafka:
        check_door(Door("Kafka", listener.listen, by_flags=by_flags, listener=listener.name))
    check_door(Door("HTTP", config.listeners.http, by_flags=by_flags))
    _warn_if_open(config)
    try:
        uvloop.run(_Serving(config, as_json=as_json, supervised=supervised).run())
    except OttlaError as error:
        raise CommandError(str(error)) from error
    except BlockingIOError as error:
        raise CommandError(
            f"data directory {config.storage.log_dir} is held by another process; stop that, or "
            "choose another directory with --data"
        ) from error
    except OSError as error:
        raise CommandError(_reason(config, error)) from error
    return 0


def _reason(config: BrokerConfig, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"cannot listen on {error.filename or 'a port'}: it was taken at this moment; try "
            "again, or choose other ports"
        )
    where = error.filename or config.storage.log_dir
    return f"cannot use {where}: {error.strerror}; make it usable, or choose another with --data"


def _warn_if_open(config: BrokerConfig) -> None:
    tls = config.tls
    doors = [(config.listeners.grpc, tls.enabled)]
    doors += [(listener.listen, listener.is_encrypted) for listener in config.listeners.kafka]
    for listen, is_encrypted in doors:
        if listen.is_loopback or (is_encrypted and tls.client_certificate_required):
            continue
        emit(OPEN_TO_ALL, listen=listen, advice=_advice_on_open(tls, is_encrypted=is_encrypted))


def _advice_on_open(tls: TlsConfig, *, is_encrypted: bool) -> str:
    if not is_encrypted and tls.enabled:
        return (
            "everybody who reaches this address can read, write and delete, and sees what others "
            "send; make it an SSL listener, or have it listen on 127.0.0.1"
        )
    if not is_encrypted:
        return (
            "everybody who reaches this address can read, write and delete, and sees what others "
            "send; set ssl.certificate.location, ssl.key.location and ssl.ca.location, for which "
            "'ottla certs create' makes files, or listen on 127.0.0.1"
        )
    if tls.ca is not None:
        return (
            "everybody who reaches this address can read, write and delete, because "
            "ssl.client.auth is none; leave it out to admit certificates of ssl.ca.location only"
        )
    return (
        "everybody who reaches this address can read, write and delete; set ssl.ca.location to "
        "admit certificates of that authority only"
    )


class _Serving:
    def __init__(self, config: BrokerConfig, *, as_json: bool, supervised: bool) -> None:
        self._config = config
        self._as_json = as_json
        self._supervised = supervised
        self._stop = asyncio.Event()
        self._all_stop = False
        """Whether all brokers of the cluster stop, and nobody is left to hand anything over to."""

    async def run(self) -> None:
        """Start the broker, wait until it is told to stop or fails, and stop it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        if self._supervised:
            loop.add_reader(sys.stdin.fileno(), self._on_supervisor)
        broker = Broker(self._config)
        if not await self._start(broker):
            return
        try:
            self._announce(broker.addresses)
            await self._wait(broker)
        finally:
            await broker.stop(hand_over=not self._all_stop)

    async def _start(self, broker: Broker) -> bool:
        """Start the broker; ``False`` if it was told to stop meanwhile and has stopped."""
        starting = asyncio.ensure_future(broker.start())
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()  # undoes what it has done so far
            await asyncio.wait((starting,))
            if starting.cancelled():
                return False
        starting.result()
        return True

    async def _wait(self, broker: Broker) -> None:
        failing = asyncio.ensure_future(broker.wait_failed())
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((failing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if failing.done():
            raise CommandError(f"the broker failed and stops: {failing.result()}")
        failing.cancel()

    def _on_signal(self) -> None:
        if self._stop.is_set():
            os._exit(FORCED)
        self._stop.set()
        if not self._as_json:
            say("Stopping; Ctrl-C again does not wait.")

    def _on_supervisor(self) -> None:
        if not os.read(sys.stdin.fileno(), _SUPERVISOR_BYTES):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._all_stop = not self._stop.is_set()
            self._stop.set()

    def _announce(self, addresses: BrokerAddresses) -> None:
        grpc, http = addresses.grpc, addresses.http
        directory = self._config.storage.log_dir
        if self._as_json:
            print_json(
                {
                    "status": "ready",
                    "version": __version__,
                    "node_id": self._config.node.node_id,
                    "pid": os.getpid(),
                    "grpc": str(grpc),
                    "kafka": str(next(iter(addresses.kafka.values()))) if addresses.kafka else None,
                    "http": str(http),
                    "data": str(directory),
                    "ephemeral": self._config.storage.ephemeral,
                }
            )
            return
        reached = Address("127.0.0.1", grpc.port) if grpc.is_wildcard else grpc
        kept = ", gone when it stops" if self._config.storage.ephemeral else ""
        print(
            f"Ottla {__version__}: broker {self._config.node.node_id} is ready.\n\n"
            f"  gRPC  {grpc}{', TLS' if self._config.tls.enabled else ''}\n"
            f"{self._kafka(addresses)}"
            f"  HTTP  http://{http}  (/metrics, /healthz, /readyz)\n"
            f"  data  {directory}{kept}\n\n"
            f"Try   ottla topic create web{options_to_reach([str(reached)], self._config.tls)}\n"
            "Stop  Ctrl-C",
            flush=True,
        )

    def _kafka(self, addresses: BrokerAddresses) -> str:
        """Say where Kafka's protocol is served, one line a listener."""
        encrypted = {one.name for one in self._config.listeners.kafka if one.is_encrypted}
        return "".join(
            f"  Kafka {address}{', TLS' if name in encrypted else ''}\n"
            for name, address in addresses.kafka.items()
        )
