"""Commands that change a cluster ask it for the right thing and say what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ottla.cli.main import run
from tests.client.served import ServedCluster

CaptureFixture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def served() -> Iterator[ServedCluster]:
    with ServedCluster() as cluster:
        yield cluster


def done(served: ServedCluster, capsys: CaptureFixture, *arguments: str) -> str:
    """Run a command that succeeds; return what it prints."""
    assert run(["--bootstrap", served.bootstrap, *arguments]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(served: ServedCluster, capsys: CaptureFixture, *arguments: str) -> str:
    """Run a command that fails; return what it says."""
    assert run(["--bootstrap", served.bootstrap, *arguments]) == 1
    return capsys.readouterr().err


# --- Brokers --------------------------------------------------------------------------


def test_undrain_takes_a_drain_back(served: ServedCluster, capsys: CaptureFixture) -> None:
    assert "broker 7 may have replicas again" in done(served, capsys, "cluster", "undrain", "7")
    assert served.do(lambda cluster: ("draining", 7, False) in cluster.changes)


def test_remove_has_a_broker_forgotten(served: ServedCluster, capsys: CaptureFixture) -> None:
    assert done(served, capsys, "cluster", "remove", "7") == "removed broker 7\n"
    assert served.do(lambda cluster: ("unregistered", 7) in cluster.changes)


def test_nothing_is_done_where_nobody_can_be_asked(
    served: ServedCluster, capsys: CaptureFixture
) -> None:
    said = refused(served, capsys, "cluster", "readmit-voter", "2")

    assert "offers" not in said
    assert "6e6577" in said  # the directory that it comes with
    assert "nothing was changed: nobody is there to ask; --yes goes ahead" in said
    assert not served.do(lambda cluster: [c for c in cluster.changes if c[0] == "readmitted"])


@pytest.mark.parametrize(
    ("voter", "message"),
    [("9", "broker 9 is no voter"), ("1", "broker 1 is not refused: it is linked and votes")],
)
def test_only_a_voter_that_is_refused_is_readmitted(
    served: ServedCluster, capsys: CaptureFixture, voter: str, message: str
) -> None:
    assert message in refused(served, capsys, "cluster", "readmit-voter", voter, "--yes")


# --- Moves ----------------------------------------------------------------------------


def test_partition_is_moved_where_one_says(served: ServedCluster, capsys: CaptureFixture) -> None:
    arguments = ("topic", "reassign", "web", "--partition", "0", "--replicas", "1,3")

    document = json.loads(done(served, capsys, *arguments, "--no-wait", "--json"))

    assert document == {"begun": ["web-0"]}
    assert served.do(lambda cluster: list(cluster.topics["web"][0].replicas)) == [1, 3]


def test_partition_that_is_not_there_is_not_moved(
    served: ServedCluster, capsys: CaptureFixture
) -> None:
    arguments = ("topic", "reassign", "web", "--partition", "99", "--replicas", "1")

    assert "web-99" in refused(served, capsys, *arguments)


def test_where_nothing_moves_nothing_is_cancelled(
    served: ServedCluster, capsys: CaptureFixture
) -> None:
    printed = done(served, capsys, "cluster", "rebalance", "--cancel")

    assert printed == "nothing is being moved\n"
    assert done(served, capsys, "topic", "reassign", "web", "--cancel") == printed


def test_dry_run_prints_the_plan_and_moves_nothing(
    served: ServedCluster, capsys: CaptureFixture
) -> None:
    before = served.do(lambda cluster: list(cluster.topics["web"][0].replicas))

    plan = json.loads(done(served, capsys, "cluster", "rebalance", "--dry-run", "--json"))

    assert [move["replicas"] for move in plan["moves"]] == [[3, 2]]
    assert {load["broker_id"] for load in plan["brokers"]} == {1}
    assert served.do(lambda cluster: list(cluster.topics["web"][0].replicas)) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["topic", "reassign", "web"],
        ["topic", "reassign", "web", "--partition", "0"],
        ["topic", "reassign", "web", "--partition", "0", "--replicas", "one"],
        ["topic", "reassign", "web", "--replicas", "1", "--cancel"],
        ["cluster", "rebalance", "--brokers", "0;1"],
        ["cluster", "drain"],
        ["cluster", "config", "set", "retention"],
    ],
    ids=" ".join,
)
def test_command_line_that_makes_no_sense_is_refused(
    capsys: CaptureFixture, arguments: list[str]
) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("ottla: ")


# --- Leaders --------------------------------------------------------------------------


def test_without_partitions_that_lack_a_leader_nothing_is_lost(
    served: ServedCluster, capsys: CaptureFixture
) -> None:
    printed = done(served, capsys, "cluster", "elect-leaders", "--unclean")

    assert printed.startswith("nothing to elect")


# --- Settings -------------------------------------------------------------------------


def test_setting_of_all_brokers_is_set_listed_and_unset(
    served: ServedCluster, capsys: CaptureFixture
) -> None:
    assert "all brokers" in done(served, capsys, "cluster", "config", "set", "retention.ms=5")
    listed = json.loads(done(served, capsys, "cluster", "config", "list", "--json"))
    done(served, capsys, "cluster", "config", "unset", "retention.ms")

    assert listed["retention.ms"]["value"] == "5"
    assert json.loads(done(served, capsys, "cluster", "config", "list", "--json")) == {}


def test_setting_of_one_broker_is_its_own(served: ServedCluster, capsys: CaptureFixture) -> None:
    done(served, capsys, "cluster", "config", "set", "retention.ms=6", "--broker", "1")

    assert served.do(lambda cluster: cluster.configs["BROKER", "1"]) == {"retention.ms": "6"}
    assert "retention.ms\t6" in done(served, capsys, "cluster", "config", "list", "--broker", "1")


def test_setting_that_is_refused_is_said(served: ServedCluster, capsys: CaptureFixture) -> None:
    said = refused(served, capsys, "cluster", "config", "set", "no.such=1")

    assert said == "ottla: there is no setting no.such\n"
