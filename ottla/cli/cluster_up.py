"""``ottla up`` with several brokers: start them, say so, watch them, stop them.

The brokers are ``ottla broker`` processes under a :class:`~ottla.cli.supervisor.Supervisor`. This
process imports nothing of a broker, so that the cores are the children's while all start.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping

from ottla import __version__
from ottla.cli.broker_options import Sources
from ottla.cli.child_output import ChildOutput
from ottla.cli.cluster_plan import ClusterPlan, PlannedBroker
from ottla.cli.connection import options_to_reach
from ottla.cli.failure import INTERRUPTED
from ottla.cli.output import print_json, say
from ottla.cli.supervisor import Child, Document, Supervisor


def run_cluster(plan: ClusterPlan, sources: Sources, *, restart: bool, as_json: bool) -> int:
    """Run all brokers until told to stop; return the exit status.

    Raises :exc:`~ottla.cli.failure.CommandError` if one of them cannot start.
    """
    return asyncio.run(_Cluster(plan, sources, restart=restart, as_json=as_json).run())


class _Cluster:
    def __init__(
        self, plan: ClusterPlan, sources: Sources, *, restart: bool, as_json: bool
    ) -> None:
        self._plan = plan
        self._as_json = as_json
        self._told_to_stop = 0
        children = [
            Child(name=_name(broker), command=_command(broker, sources)) for broker in plan.brokers
        ]
        output = ChildOutput(sys.stderr.buffer, [child.name for child in children])
        self._supervisor = Supervisor(children, show=output.show, say=output.say, restart=restart)

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup ignores SIGHUP for us, and means it.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal)
        status = await self._supervisor.run(self._announce)
        return INTERRUPTED if self._told_to_stop > 1 else status

    def _on_signal(self) -> None:
        self._told_to_stop += 1
        if self._told_to_stop > 1:
            self._supervisor.kill()
            return
        self._supervisor.stop()
        if not self._as_json:
            with contextlib.suppress(OSError):  # the terminal may be gone
                say("Stopping; Ctrl-C again does not wait.")

    def _announce(self, ready: Mapping[str, Document]) -> None:
        if self._as_json:
            print_json(
                {
                    "status": "ready",
                    "version": __version__,
                    "brokers": [
                        {
                            key: ready[_name(broker)][key]
                            for key in ("node_id", "grpc", "kafka", "http", "pid", "data")
                        }
                        for broker in self._plan.brokers
                    ],
                    "bootstrap": self._plan.bootstrap,
                    "kafka_bootstrap": self._plan.kafka_bootstrap,
                    "ephemeral": self._plan.common.storage.ephemeral,
                }
            )
            return
        print(summary(self._plan), flush=True)


def summary(plan: ClusterPlan) -> str:
    """Say where everything is, and what to do next."""
    tls = ", TLS" if plan.common.tls.enabled else ""
    kept = ", gone when they stop" if plan.common.storage.ephemeral else ""
    rows = [
        (
            f"gRPC  {broker.grpc}{tls}",
            _kafka(plan, broker),
            f"HTTP  http://{broker.http}",
            f"data  {broker.log_dir}",
        )
        for broker in plan.brokers
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    listing = "\n".join(
        f"  broker {broker.node_id}  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        + kept
        for broker, row in zip(plan.brokers, rows, strict=True)
    )
    options = options_to_reach([str(broker.reached) for broker in plan.brokers], plan.common.tls)
    return (
        f"Ottla {__version__}: {len(plan.brokers)} brokers are ready.\n\n{listing}\n\n"
        f"Try   ottla topic create web{options}\n"
        "Stop  Ctrl-C"
    )


def _kafka(plan: ClusterPlan, broker: PlannedBroker) -> str:
    encrypted = {listener.name for listener in plan.common.listeners.kafka if listener.is_encrypted}
    listeners = [
        f"{address}{', TLS' if name in encrypted else ''}" for name, address in broker.kafka.items()
    ]
    return f"Kafka  {'; '.join(listeners) or 'off'}"


def _name(broker: PlannedBroker) -> str:
    return f"broker-{broker.node_id}"


def _command(broker: PlannedBroker, sources: Sources) -> list[str]:
    # -P: a directory named ottla where the user stands is none of ours.
    command = [sys.executable, "-P", "-m", "ottla", "broker", "--json", "--supervised"]
    if sources.config_file is not None:
        command += ["--config", str(sources.config_file)]
    for found in sources.settings:
        command += ["--set", f"{found.key}={found.text}"]
    for key, value in broker.settings.items():
        command += ["--set", f"{key}={value}"]
    return command
