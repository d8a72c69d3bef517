"""With mutual TLS, a node of the quorum is the broker that its certificate names, or nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from ottla.cluster.grpc.channels import BrokerChannels
from ottla.cluster.grpc.quorum_calls import dial_quorum
from ottla.cluster.quorum_handshake import Hello
from ottla.cluster.quorum_link import Accepted, Frame, Refusal
from ottla.model.errors import ClusterAuthorizationError
from ottla.model.ids import BrokerId
from ottla.security.certificates import Authority, Credential
from ottla.security.identity import check_broker
from tests.cluster.quorum_nodes import HOST, Quorum, an_id

CALLED, CALLER = BrokerId(0), BrokerId(1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("test", days=1)


@pytest.fixture
async def quorum(authority: Authority) -> AsyncIterator[Quorum]:
    """Two voters, of which the first runs, and asks its callers for certificates."""
    made = Quorum(
        voters=2,
        credentials=server_credentials(
            authority, authority.issue("broker-0", days=1, hosts=[HOST])
        ),
    )
    await made.listen(CALLED)
    yield made
    await made.stop()


def server_credentials(authority: Authority, own: Credential) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(own.key, own.certificate)],
        root_certificates=authority.credential.certificate,
        require_client_auth=True,
    )


async def answer_to_caller(quorum: Quorum, authority: Authority, name: str) -> Frame | None:
    """Call as voter 1 with the certificate of ``name``; return what comes after Hello."""
    own = authority.issue(name, days=1)
    channels = BrokerChannels(
        grpc.ssl_channel_credentials(
            authority.credential.certificate,
            private_key=own.key,
            certificate_chain=own.certificate,
        )
    )
    frames = await dial_quorum(channels, quorum.addresses[CALLED])
    said = Hello(
        node_id=CALLER,
        peer_id=CALLED,
        cluster_id="",
        voters=frozenset(quorum.voters),
        directory_id=an_id(2),
        incarnation_id=an_id(7),
    )
    try:
        async with asyncio.timeout(10):
            await frames.write(said)
            assert isinstance(await frames.read(), Hello)
            return await frames.read()
    finally:
        frames.close()
        await channels.close()


async def test_broker_with_its_own_certificate_is_let_in(
    quorum: Quorum, authority: Authority
) -> None:
    assert await answer_to_caller(quorum, authority, "broker-1") == Accepted()


@pytest.mark.parametrize("name", ["broker-2", "alice", "broker-01", "BROKER-1"])
async def test_broker_with_the_certificate_of_somebody_else_is_refused(
    quorum: Quorum, authority: Authority, name: str
) -> None:
    answer = await answer_to_caller(quorum, authority, name)

    assert isinstance(answer, Refusal)
    assert isinstance(answer.error, ClusterAuthorizationError)
    assert f"common name '{name}', not broker-1" in str(answer.error)
    assert not quorum[CALLED].links.present


# --- The rule ----------------------------------------------------------------------------------


def test_caller_without_a_certificate_is_believed_where_nobody_is_asked_for_one() -> None:
    check_broker({"transport_security_type": [b"ssl"]}, CALLER)
    check_broker({}, CALLER)


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param({"x509_pem_cert": [b"..."]}, id="no name"),
        pytest.param({"x509_common_name": [b"broker-1", b"broker-2"]}, id="two names"),
        pytest.param({"x509_common_name": [b"broker-2"]}, id="another broker"),
        pytest.param({"x509_common_name": [b"broker-1\n"]}, id="more than the name"),
    ],
)
def test_certificate_must_be_the_brokers(shown: dict[str, list[bytes]]) -> None:
    with pytest.raises(ClusterAuthorizationError, match="give every broker a certificate"):
        check_broker(shown, CALLER)
