"""With mutual TLS the controller hears brokers alone, and each only as itself."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ottla.cluster.controller_answers import decode_refusal
from ottla.cluster.controller_codec import encode_request
from ottla.controller.requests import CreateTopics, DeleteTopics, Request
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.v1.controller_pb2 import ControllerRequest, SessionAnswer, SessionHeartbeat
from tests.cluster.controllers import LONG_MS, Cluster, registration, with_cluster


class Caller:
    """A call with the certificate of the name given, or with none."""

    def __init__(self, name: str | None, *heartbeats: SessionHeartbeat) -> None:
        self._name = name
        self._heartbeats = list(heartbeats)

    def auth_context(self) -> dict[str, list[bytes]]:
        if self._name is None:
            return {}
        return {"x509_common_name": [self._name.encode()], "x509_pem_cert": [b"..."]}

    async def read(self) -> object:
        return self._heartbeats.pop(0) if self._heartbeats else "the end"


async def refusal(
    cluster: Cluster, request: Request, *, sender: int, certificate: str | None
) -> str:
    message = encode_request(request, sender=BrokerId(sender), timeout_ms=LONG_MS)
    return await answer_to(cluster, message, certificate)


async def answer_to(cluster: Cluster, message: ControllerRequest, certificate: str | None) -> str:
    response = await cluster[0].servicer.Submit(message, cast("Any", Caller(certificate)))
    refused = decode_refusal(response)
    return "NONE" if refused is None else refused[0].name


async def session(cluster: Cluster, broker: int, certificate: str | None) -> list[str]:
    """Return how each heartbeat of a session was answered."""
    epoch = cluster[0].image.brokers[BrokerId(broker)].broker_epoch
    heartbeat = SessionHeartbeat(broker_id=broker, broker_epoch=epoch)
    caller = cast("Any", Caller(certificate, heartbeat, heartbeat))
    answers: list[SessionAnswer] = [
        answer async for answer in cluster[0].servicer.Session(None, caller)
    ]
    return [answer.error.Code.Name(answer.error.code) for answer in answers]


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ("broker-1", "NONE"),
        (None, "NONE"),  # a cluster without mutual TLS
        ("broker-2", "CLUSTER_AUTHORIZATION_FAILED"),
        ("an-application", "CLUSTER_AUTHORIZATION_FAILED"),
    ],
)
def test_certificate_must_be_the_senders(certificate: str | None, expected: str) -> None:
    async def scenario(cluster: Cluster) -> str:
        await cluster.start()
        request = DeleteTopics(names=("web",))
        return await refusal(cluster, request, sender=1, certificate=certificate)

    assert with_cluster(scenario) == expected


def test_broker_cannot_register_another() -> None:
    async def scenario(cluster: Cluster) -> str:
        await cluster.start()
        return await refusal(cluster, registration(2), sender=1, certificate="broker-1")

    assert with_cluster(scenario) == "CLUSTER_AUTHORIZATION_FAILED"


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ("broker-1", ["NONE", "NONE"]),
        (None, ["NONE", "NONE"]),
        ("broker-2", ["CLUSTER_AUTHORIZATION_FAILED"]),
    ],
)
def test_session_is_the_brokers_own(certificate: str | None, expected: list[str]) -> None:
    async def scenario(cluster: Cluster) -> list[str]:
        await cluster.start()
        return await session(cluster, 1, certificate)

    assert with_cluster(scenario) == expected


@pytest.mark.parametrize("timeout_ms", [0, -1, 2**31 - 1])
def test_request_must_say_how_long_it_waits(timeout_ms: int) -> None:
    async def scenario(cluster: Cluster) -> str:
        await cluster.start()
        message = encode_request(CreateTopics(topics=()), sender=BrokerId(1), timeout_ms=timeout_ms)
        return await answer_to(cluster, message, None)

    assert with_cluster(scenario) == "INVALID_REQUEST"


def test_unknown_request_is_refused_as_such() -> None:
    async def scenario(cluster: Cluster) -> str:
        await cluster.start()
        return await answer_to(cluster, ControllerRequest(sender_id=1, timeout_ms=1), None)

    assert with_cluster(scenario) == "UNSUPPORTED_VERSION"


def test_session_of_an_unknown_broker_is_refused() -> None:
    async def scenario(cluster: Cluster) -> list[str]:
        await cluster.start()
        heartbeat = SessionHeartbeat(broker_id=9, broker_epoch=BrokerEpoch(1))
        call = cluster[0].servicer.Session(None, cast("Any", Caller(None, heartbeat)))
        return [answer.error.Code.Name(answer.error.code) async for answer in call]

    assert with_cluster(scenario) == ["BROKER_ID_NOT_REGISTERED"]
