"""``ottla group`` shows and resets the groups of a real broker, of either kind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest

from ottla.testing.broker_process import BrokerProcess
from tests.integration.group_members import Confluent, Crew, shared, wait_until
from tests.integration.test_command_line import Shell
from tests.integration.test_groups import produce

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(120)]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "group.py"


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell and a broker that the tests of this file share; each has topics of its own."""
    settings = ["--set", "num.partitions=4", "--set", "group.consumer.heartbeat.interval.ms=200"]
    with BrokerProcess(arguments=settings) as broker:
        yield Shell(broker)


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.disband()


def fill(shell: Shell, topic: str, count: int) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": shell.broker.kafka_address})
    produce(producer, topic, count)


def test_life_of_a_classic_group(shell: Shell, crew: Crew) -> None:
    fill(shell, "invoices", 40)
    member = crew.add(lambda: Confluent(shell.broker.kafka_address, "billing", "invoices"))
    wait_until(lambda: shared(4, member), member)

    (described,) = json.loads(shell.output("group", "describe", "billing", "--json"))
    (only,) = described["members"]
    assert (described["type"], described["state"]) == ("classic", "Stable")
    assert [each["partition"] for each in only["assignment"]] == [0, 1, 2, 3]
    table = shell.output("group", "describe", "billing").decode()
    assert "invoices 0-3" in table

    refused = shell.run("group", "reset-offsets", "billing", "--to-latest", "--yes")
    assert refused.returncode == 1
    assert b"has members" in refused.stderr
    crew.disband()

    reset = ("group", "reset-offsets", "billing", "--topic", "invoices", "--to-offset", "3")
    planned = shell.output(*reset, "--dry-run", "--json")
    assert {each["new"] for each in json.loads(planned)} == {3}
    before = json.loads(shell.output("group", "lag", "billing", "--json"))
    assert 3 not in [each["committed"] for each in before]
    shell.output(*reset, "--yes")
    lags = json.loads(shell.output("group", "lag", "billing", "--json"))
    assert [each["committed"] for each in lags] == [3, 3, 3, 3]
    assert sum(each["lag"] for each in lags) == 40 - 4 * 3

    assert b"billing" in shell.output("group", "list")
    shell.output("group", "delete", "billing")
    assert b"billing" not in shell.output("group", "list")


def test_consume_as_a_member_goes_on_where_the_group_was(shell: Shell) -> None:
    fill(shell, "news", 30)
    member = ("consume", "news", "--group", "readers", "--from-beginning", "--format", "%p:%o")
    first = shell.output(*member, "--max", "10").split()
    second = shell.output(*member, "--max", "20").split()

    assert len({*first, *second}) == 30
    (row,) = [
        each
        for each in json.loads(shell.output("group", "lag", "--json"))
        if each["group"] == "readers"
    ]
    assert (row["partitions"], row["lag"]) == (4, 0)


def test_example_sees_every_order(shell: Shell) -> None:
    topic_is_new = subprocess.run(
        [sys.executable, str(EXAMPLE), shell.broker.grpc_address],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={},
    )

    assert topic_is_new.returncode == 0, topic_is_new.stderr
    assert "second leaves after" in topic_is_new.stdout
    assert "40 of 40 orders were seen" in topic_is_new.stdout
