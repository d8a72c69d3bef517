"""``ottla up`` brings three brokers along as one, keeps them running, and takes them with it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from ottla.cli.certs_work import create_certificates
from ottla.client import Admin, Consumer, NewTopic, Producer
from ottla.client.settings import ConnectionOptions
from ottla.model.errors import ClusterAuthorizationError
from ottla.security.tls import channel_credentials
from ottla.v1 import (
    controller_pb2,
    controller_pb2_grpc,
    quorum_pb2,
    quorum_pb2_grpc,
    replication_pb2,
    replication_pb2_grpc,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

OTTLA = (sys.executable, "-m", "ottla")
ANY_PORTS = ("--grpc-port", "0", "--kafka-port", "0", "--http-port", "0")


class Up:
    """An ``ottla up`` with three brokers of its own, none of which leaves anything behind."""

    def __init__(self, log: Path, *arguments: str | Path) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*OTTLA, "up", "--ephemeral", *ANY_PORTS, *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def read_lines(self, last: str = "") -> list[str]:
        """Read standard output up to a line that begins so."""
        assert self._process.stdout is not None
        lines: list[str] = []
        while not (lines and lines[-1].startswith(last)):
            line = self._process.stdout.readline()
            assert line, self.said
            lines.append(line.rstrip("\n"))
        return lines

    @property
    def said(self) -> str:
        return self._log.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self._process.send_signal(number)
        self._process.communicate(timeout=30)
        return self._process.returncode

    def close(self) -> None:
        if self._process.poll() is None:
            self.stop(signal.SIGINT)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certs")
    create_certificates(directory, brokers=3, hosts=(), clients=("client",), days=2)
    return directory


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Up]:
    """Three brokers that know each other, and their clients, by their certificates."""
    started = Up(tmp_path_factory.mktemp("up") / "log", "--json", "--certs", certificates)
    yield started
    started.close()


@pytest.fixture(scope="module")
def ready(up: Up) -> dict[str, Any]:
    (line,) = up.read_lines()
    document: dict[str, Any] = json.loads(line)
    return document


def status(ready: dict[str, Any], certificates: Path) -> dict[str, Any]:
    connection = ("--bootstrap", ready["bootstrap"], "--certs", certificates)
    done = subprocess.run(
        [*OTTLA, *connection, "cluster", "status", "--json"],
        check=False,
        capture_output=True,
        timeout=30,
    )
    assert done.stdout, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


# --- A cluster with mutual TLS --------------------------------------------------------


def test_ready_line_says_where_every_broker_is(ready: dict[str, Any]) -> None:
    assert ready["status"] == "ready"
    assert [broker["node_id"] for broker in ready["brokers"]] == [0, 1, 2]
    assert ready["bootstrap"] == ",".join(broker["grpc"] for broker in ready["brokers"])
    assert ready["kafka_bootstrap"] == ",".join(broker["kafka"] for broker in ready["brokers"])
    for broker in ready["brokers"]:
        assert Path(broker["data"]).is_dir()
        os.kill(broker["pid"], 0)


def test_three_brokers_serve_one_cluster(ready: dict[str, Any], certificates: Path) -> None:
    found = status(ready, certificates)

    assert [broker["state"] for broker in found["brokers"]] == ["serving"] * 3
    assert found["quorum"]["linked"] == [0, 1, 2]
    assert found["controller_id"] in (0, 1, 2)


def test_topic_is_described_by_all_its_leaders(ready: dict[str, Any], certificates: Path) -> None:
    def ottla(*arguments: str) -> bytes:
        connection = ("--bootstrap", ready["bootstrap"], "--certs", str(certificates))
        return subprocess.run(
            [*OTTLA, *connection, *arguments], check=True, capture_output=True, timeout=30
        ).stdout

    ottla("topic", "create", "web", "--partitions", "6", "--replication-factor", "3")
    (topic,) = json.loads(ottla("topic", "describe", "web", "--json"))

    assert {partition["leader"] for partition in topic["partitions"]} == {0, 1, 2}
    assert {partition["high_watermark"] for partition in topic["partitions"]} == {0}


METHODS = [
    "/ottla.v1.Cluster/GetMetadata",
    "/ottla.v1.Topics/CreateTopics",
    "/ottla.v1.Log/Produce",
    "/ottla.v1.Quorum/Link",
    "/ottla.v1.Controller/Submit",
    "/ottla.v1.Replication/Follow",
    "/grpc.health.v1.Health/Check",
]


@pytest.mark.parametrize("method", METHODS)
async def test_stranger_gets_nowhere(
    ready: dict[str, Any], certificates: Path, method: str
) -> None:
    target = ready["brokers"][0]["grpc"]
    nameless = grpc.aio.secure_channel(target, channel_credentials(ca=certificates / "ca.pem"))
    for channel in (nameless, grpc.aio.insecure_channel(target)):
        async with channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary(method, bytes, bytes)(b"", timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def client_credentials(certificates: Path) -> grpc.ChannelCredentials:
    return channel_credentials(
        ca=certificates / "ca.pem",
        certificate=certificates / "client.pem",
        key=certificates / "client-key.pem",
    )


async def test_client_cannot_speak_for_a_broker(ready: dict[str, Any], certificates: Path) -> None:
    client = client_credentials(certificates)
    request = controller_pb2.ControllerRequest(
        timeout_ms=5_000,
        sender_id=1,
        fence_broker=controller_pb2.ControllerRequest.BrokerLife(broker_id=1, broker_epoch=0),
    )
    async with grpc.aio.secure_channel(ready["brokers"][0]["grpc"], client) as channel:
        answer = await controller_pb2_grpc.ControllerStub(channel).Submit(request, timeout=10)

    assert answer.error.code == ClusterAuthorizationError.code
    assert "ottla certs create" in answer.error.message


async def test_client_gets_nowhere_on_services_between_brokers(
    ready: dict[str, Any], certificates: Path
) -> None:
    target = ready["brokers"][0]["grpc"]
    follower = replication_pb2.FollowerIdentity(cluster_id="", broker_id=1, broker_epoch=0)
    async with grpc.aio.secure_channel(target, client_credentials(certificates)) as channel:
        calls = {
            quorum_pb2_grpc.QuorumStub(channel).Link: quorum_pb2.QuorumFrame(
                hello=quorum_pb2.QuorumHello(
                    node_id=1,
                    peer_id=0,
                    voters=[0, 1, 2],
                    directory_id=bytes(16),
                    incarnation_id=bytes(16),
                )
            ),
            controller_pb2_grpc.ControllerStub(channel).Session: controller_pb2.SessionHeartbeat(
                broker_id=1
            ),
            replication_pb2_grpc.ReplicationStub(channel).Follow: replication_pb2.FollowRequest(
                identity=follower
            ),
        }
        for call, first in calls.items():
            assert "ottla certs create" in await refusal(call, first)


async def refusal(call: Any, first: object) -> str:
    """Open a stream with one message; return what comes back until it ends, the status included."""
    stream = call(timeout=10)
    await stream.write(first)
    said = []
    with suppress(grpc.aio.AioRpcError):
        said = [str(answer) async for answer in stream]
    return f"{said} {await stream.details()}"


async def test_certificate_of_another_authority_gets_nowhere(
    ready: dict[str, Any], certificates: Path, tmp_path: Path
) -> None:
    create_certificates(tmp_path, brokers=1, hosts=(), clients=("client",), days=2)
    for name in ("client", "broker-0"):
        stranger = channel_credentials(
            ca=certificates / "ca.pem",
            certificate=tmp_path / f"{name}.pem",
            key=tmp_path / f"{name}-key.pem",
        )
        async with grpc.aio.secure_channel(ready["brokers"][0]["grpc"], stranger) as channel:
            for method in METHODS:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await channel.unary_unary(method, bytes, bytes)(b"", timeout=10)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_records_go_to_every_leader_and_back(
    ready: dict[str, Any], certificates: Path
) -> None:
    bootstrap = ready["bootstrap"]
    known: ConnectionOptions = {
        "ssl_ca_location": certificates / "ca.pem",
        "ssl_certificate_location": certificates / "client.pem",
        "ssl_key_location": certificates / "client-key.pem",
    }
    async with Admin(bootstrap, **known) as admin:
        await admin.create_topics([NewTopic("secret", partitions=3, replication_factor=3)])
    async with (
        Producer(bootstrap_servers=bootstrap, **known) as producer,
        Consumer(
            "secret", bootstrap_servers=bootstrap, auto_offset_reset="earliest", **known
        ) as consumer,
    ):
        for partition in range(3):
            await producer.send_and_wait("secret", b"%d" % partition, partition=partition)
        values = {(await consumer.getone()).value for _ in range(3)}

    assert values == {b"0", b"1", b"2"}


def test_broker_that_dies_is_said_and_comes_back(
    up: Up, ready: dict[str, Any], certificates: Path
) -> None:
    os.kill(ready["brokers"][1]["pid"], signal.SIGKILL)

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if len(re.findall(r"broker-1 \| .* broker\.started", up.said)) == 2:
            break
        time.sleep(0.05)
    assert "ottla: broker-1 was killed by SIGKILL; it will be started again" in up.said
    assert [broker["state"] for broker in status(ready, certificates)["brokers"]] == ["serving"] * 3


# --- One without ----------------------------------------------------------------------


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Up]:
    """Three brokers that are told to a person."""
    started = Up(tmp_path / "log")
    yield started
    started.close()


def test_told_to_stop_all_brokers_stop_together_and_in_good_order(plain: Up) -> None:
    text = "\n".join(plain.read_lines("Stop"))

    assert plain.stop() == 0

    # None of them waits for a majority that is gone.
    assert "handed_over" not in plain.said
    assert "3 brokers are ready" in text
    (data,) = set(re.findall(r"data  (\S+)/broker-\d, gone when they stop", text))
    assert not Path(data).exists()
    assert len(re.findall(r"broker-\d \| .* broker\.stopped .*clean=true", plain.said)) == 3
