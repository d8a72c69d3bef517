"""Several brokers are each told what is theirs and the same of all else, or it is refused."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from ottla.cli.broker_options import Sources
from ottla.cli.cluster_plan import ClusterPlan, Wanted, plan_cluster, voters_of
from ottla.cli.cluster_up import summary
from ottla.cli.failure import CommandError
from ottla.config.broker_config import broker_config
from ottla.config.sources import Found
from ottla.model.ids import BrokerId
from ottla.runtime.posix import PosixFileSystem
from ottla.storage.quorum_voters import METADATA_DIRECTORY, remember_voters

FILES = PosixFileSystem(sync=False)


class Cluster:
    """Plans clusters with the data of one directory, on any ports."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def plan(
        self,
        count: int = 3,
        settings: Sequence[str] = (),
        *,
        grpc_port: int | None = 0,
        kafka_port: int | None = 0,
        http_port: int | None = 0,
        host: str | None = None,
        certificates: Path | None = None,
    ) -> ClusterPlan:
        pairs = [text.split("=", 1) for text in settings]
        found = [Found(key, value, "--set") for key, value in pairs]
        return plan_cluster(
            Wanted(
                count=count,
                sources=Sources(None, found, self.directory),
                certificates=certificates,
                host=host,
                grpc_port=grpc_port,
                kafka_port=kafka_port,
                http_port=http_port,
            )
        )

    def refusal(self, count: int = 3, settings: Sequence[str] = ()) -> str:
        with pytest.raises(CommandError) as refused:
            self.plan(count, settings)
        return refused.value.format_message()

    def remember(self, broker_id: int, voters: set[int]) -> None:
        """Leave what a broker of a cluster with these voters leaves."""
        directory = self.directory / f"broker-{broker_id}"
        directory.mkdir(exist_ok=True)
        remember_voters(directory, frozenset(map(BrokerId, voters)), file_system=FILES)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def value_in(plan: ClusterPlan, key: str) -> set[str | None]:
    return {broker.settings.get(key) for broker in plan.brokers}


def voters_in(plan: ClusterPlan) -> list[int]:
    (text,) = value_in(plan, "controller.quorum.voters")
    assert text is not None
    return [int(number) for number in re.findall(r"(\d+)@", text)]


# --- What each is told ----------------------------------------------------------------


def test_settings_of_each_broker_are_a_configuration(cluster: Cluster) -> None:
    for broker in cluster.plan().brokers:
        config = broker_config(broker.settings)

        assert config.node.node_id == broker.node_id
        assert (config.listeners.grpc, config.listeners.http) == (broker.grpc, broker.http)
        assert {one.name: one.listen for one in config.listeners.kafka} == broker.kafka
        assert config.storage.log_dir == cluster.directory / f"broker-{broker.node_id}"
        assert config.quorum.voters[BrokerId(broker.node_id)] == broker.grpc


def test_ports_are_in_a_row(cluster: Cluster) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    brokers = cluster.plan(grpc_port=port).brokers

    assert [broker.grpc.port for broker in brokers] == [port, port + 1, port + 2]


def test_any_ports_are_all_different(cluster: Cluster) -> None:
    brokers = cluster.plan(9).brokers

    doors = [door for one in brokers for door in (one.grpc, one.http, *one.kafka.values())]
    assert len({door.port for door in doors}) == 27


def test_rows_that_meet_are_refused(cluster: Cluster) -> None:
    with pytest.raises(CommandError, match="would be for gRPC and for HTTP"):
        cluster.plan(grpc_port=47_100, http_port=47_102)


def test_each_listener_has_a_row_of_its_own(cluster: Cluster) -> None:
    settings = [
        "listeners=LAN://127.0.0.1:47210,NET://127.0.0.1:47220",
        "listener.security.protocol.map=LAN:PLAINTEXT,NET:PLAINTEXT",
    ]

    plan = cluster.plan(settings=settings, kafka_port=None)

    assert [broker.settings["listeners"] for broker in plan.brokers] == [
        f"LAN://127.0.0.1:{47210 + number},NET://127.0.0.1:{47220 + number}" for number in range(3)
    ]
    assert plan.kafka_bootstrap == "127.0.0.1:47210,127.0.0.1:47211,127.0.0.1:47212"


def test_one_port_for_several_listeners_is_refused(cluster: Cluster) -> None:
    settings = [
        "listeners=LAN://127.0.0.1:0,NET://127.0.0.1:0",
        "listener.security.protocol.map=LAN:PLAINTEXT,NET:PLAINTEXT",
    ]

    with pytest.raises(CommandError, match="there are the listeners LAN, NET; say the ports"):
        cluster.plan(settings=settings, kafka_port=47_210)


def test_certificates_make_the_listener_an_encrypted_one(cluster: Cluster) -> None:
    plan = cluster.plan(certificates=Path("/certs"))

    assert [list(broker.kafka) for broker in plan.brokers] == [["SSL"]] * 3
    assert re.search(r"Kafka  127\.0\.0\.1:\d+, TLS", summary(plan))


def test_brokers_without_listeners_are_said_to_have_none(cluster: Cluster) -> None:
    plan = cluster.plan(settings=["listeners="])

    assert plan.kafka_bootstrap == ""
    assert "Kafka  off" in summary(plan)


def test_brokers_that_listen_everywhere_reach_each_other_on_loopback(cluster: Cluster) -> None:
    plan = cluster.plan(host="0.0.0.0")

    (voters,) = value_in(plan, "controller.quorum.voters")
    assert voters == ",".join(
        f"{broker.node_id}@127.0.0.1:{broker.grpc.port}" for broker in plan.brokers
    )


def test_each_broker_has_its_own_certificate(cluster: Cluster) -> None:
    plan = cluster.plan(certificates=Path("/certs"))

    assert [broker.settings["ssl.certificate.location"] for broker in plan.brokers] == [
        f"/certs/broker-{number}.pem" for number in range(3)
    ]
    assert value_in(plan, "ssl.ca.location") == {"/certs/ca.pem"}


# --- What they share ------------------------------------------------------------------


def test_three_brokers_keep_three_copies_and_two_must_have_a_record(cluster: Cluster) -> None:
    plan = cluster.plan()

    assert value_in(plan, "default.replication.factor") == {"3"}
    assert value_in(plan, "min.insync.replicas") == {"2"}


def test_two_brokers_keep_two_copies_and_one_is_enough(cluster: Cluster) -> None:
    plan = cluster.plan(2)

    assert value_in(plan, "default.replication.factor") == {"2"}
    assert value_in(plan, "min.insync.replicas") == {None}


def test_groups_of_developers_do_not_wait_for_more_members(cluster: Cluster) -> None:
    key = "group.initial.rebalance.delay.ms"

    assert value_in(cluster.plan(), key) == {"0"}
    assert value_in(cluster.plan(settings=[f"{key}=500"]), key) == {"500"}


@pytest.mark.parametrize(
    ("said", "copies", "needed"),
    [
        ("default.replication.factor=1", "1", None),
        ("min.insync.replicas=1", "3", "1"),
        ("min.insync.replicas=3", "3", "3"),
    ],
)
def test_copies_are_what_the_user_said(
    cluster: Cluster, said: str, copies: str, needed: str | None
) -> None:
    plan = cluster.plan(settings=[said])

    assert value_in(plan, "default.replication.factor") == {copies}
    assert value_in(plan, "min.insync.replicas") == {needed}


@pytest.mark.parametrize(
    "said",
    [
        "node.id=4",
        "grpc.advertised=here:1",
        "controller.quorum.voters=0@a:1,1@b:1,2@c:1",
    ],
)
def test_setting_of_one_broker_is_refused_to_several(cluster: Cluster, said: str) -> None:
    key = said.partition("=")[0]

    assert f"{key} is set, and 3 brokers cannot share it" in cluster.refusal(settings=[said])


# --- Who votes ------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "voters"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (9, 5)])
def test_new_cluster_has_an_odd_number_of_voters(count: int, voters: int) -> None:
    assert voters_of(count) == frozenset(range(voters))


def test_cluster_keeps_its_voters_when_it_grows(cluster: Cluster) -> None:
    for broker_id in range(3):
        cluster.remember(broker_id, {0, 1, 2})

    assert voters_in(cluster.plan(7)) == [0, 1, 2]


def test_data_of_a_single_broker_is_not_started_as_three(cluster: Cluster) -> None:
    (cluster.directory / "broker-0" / METADATA_DIRECTORY).mkdir(parents=True)
    (cluster.directory / "broker-0" / "meta.properties").write_text(
        "cluster.id=c\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\nnode.id=0\nversion=1\n"
    )

    sentence = cluster.refusal(3)

    assert f"the cluster in {cluster.directory / 'broker-0'} is kept by broker 0 alone" in sentence
    assert "--brokers 1, or begin a new cluster in another directory" in sentence


@pytest.mark.parametrize("count", [2, 1])
def test_data_of_three_brokers_is_not_started_as_fewer(cluster: Cluster, count: int) -> None:
    cluster.remember(0, {0, 1, 2})

    sentence = cluster.refusal(count)

    assert "is kept by brokers 0, 1 and 2" in sentence
    assert "--brokers 3" in sentence


def test_data_of_one_lost_directory_is_no_reason_to_forget_the_voters(cluster: Cluster) -> None:
    cluster.remember(2, {0, 1, 2})

    assert voters_in(cluster.plan(5)) == [0, 1, 2]


# --- What is said ---------------------------------------------------------------------


def test_summary_has_a_line_for_each_broker(cluster: Cluster) -> None:
    plan = cluster.plan()

    lines = summary(plan).splitlines()

    assert lines[0].endswith("3 brokers are ready.")
    for line, broker in zip(lines[2:5], plan.brokers, strict=True):
        assert f"broker {broker.node_id}  gRPC  {broker.grpc}" in line
        assert f"http://{broker.http}" in line
        assert line.endswith(f"data  {broker.log_dir}")
    assert f"ottla topic create web --bootstrap {plan.bootstrap}" in lines[6]
