"""``ottla group`` shows partitions in ranges, and takes only what names partitions that exist."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from ottla.cli import group_work
from ottla.cli.consume import consume
from ottla.cli.failure import CommandError
from ottla.cli.group import group as group_command
from ottla.cli.group_lag import lags_of_all, lags_of_groups
from ottla.cli.group_reset import Shift, ToOffset, named, plan
from ottla.cli.starting_point import AtTime, Beginning, End
from ottla.client.admin import Admin
from ottla.client.admin_groups import GroupDescription, GroupMemberDescription
from ottla.model.ids import TopicPartition
from tests.client.conftest import cluster, trio  # noqa: F401  # fixtures
from tests.client.fake_broker import FakeCluster
from tests.client.test_consumer import WEB_0, WEB_1, WEB_2, fill

NOBODY: frozenset[TopicPartition] = frozenset()


def a_member(**fields: object) -> GroupMemberDescription:
    return GroupMemberDescription(
        **{  # type: ignore[arg-type]
            "member_id": "id-1",
            "instance_id": "",
            "client_id": "reader",
            "client_host": "/127.0.0.1",
            "rack": "",
            "member_epoch": 3,
            "topics": ["web"],
            "pattern": "",
            "assignment": NOBODY,
            "target": NOBODY,
            **fields,
        }
    )


def group(*members: GroupMemberDescription) -> GroupDescription:
    return GroupDescription("mine", "consumer", "Stable", "consumer", "", 3, 1, members)


# --- What is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([0], "web 0"),
        ([2, 0, 1], "web 0-2"),
        ([0, 1, 2, 3, 5, 7, 8], "web 0-3,5,7-8"),
    ],
)
def test_partitions_that_follow_each_other_are_a_range(numbers: list[int], text: str) -> None:
    assert group_work.partitions_text(TopicPartition("web", each) for each in numbers) == text


def test_partitions_of_several_topics_are_sorted() -> None:
    partitions = [TopicPartition("web", 1), TopicPartition("logs", 0), TopicPartition("web", 0)]

    assert group_work.partitions_text(partitions) == "logs 0; web 0-1"


def test_member_that_reads_nothing_says_so_and_what_it_will_read() -> None:
    assert group_work._reads(a_member()) == "nothing"
    assert group_work._reads(a_member(target=frozenset({WEB_0}))) == "nothing (soon: web 0)"
    assert (
        group_work._reads(a_member(assignment=frozenset({WEB_0}), target=frozenset({WEB_0, WEB_1})))
        == "web 0 (soon: web 1)"
    )


def test_static_member_is_shown_by_its_name() -> None:
    assert group_work._name_of(a_member()) == "id-1"
    assert group_work._name_of(a_member(instance_id="one")) == "one (id-1)"


def test_description_is_a_document() -> None:
    described = group(a_member(assignment=frozenset({WEB_1, WEB_0})))
    document = json.loads(json.dumps(group_work._as_document(described)))

    assert document["members"][0]["assignment"] == [
        {"topic": "web", "partition": 0},
        {"topic": "web", "partition": 1},
    ]
    assert document["state"] == "Stable"


# --- What is taken --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["reset-offsets", "mine"], "say where to, once"),
        (["reset-offsets", "mine", "--to-earliest", "--to-latest"], "say where to, once"),
        (["reset-offsets", "mine", "--to-offset", "-1"], "--to-offset"),
        (["reset-offsets", "mine", "--to-timestamp", "yesterday"], "--to-timestamp"),
        (["reset-offsets"], "NAME"),
        (["describe"], "NAME"),
        (["delete"], "NAME"),
        (["list", "--type", "modern"], "--type"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(arguments: list[str], sentence: str) -> None:
    ended = CliRunner().invoke(group_command, arguments)

    assert ended.exit_code == 2
    assert sentence in ended.output


@pytest.mark.parametrize("option", ["--partition=0", "--offset=-5", "--from-timestamp=0"])
def test_member_of_a_group_does_not_choose_where_to_read(option: str) -> None:
    ended = CliRunner().invoke(consume, ["web", "--group", "mine", option])

    assert ended.exit_code == 2
    assert "reset-offsets" in ended.output


async def test_partitions_are_named_one_by_one_and_in_ranges(trio: FakeCluster) -> None:  # noqa: F811
    async with Admin(trio.bootstrap) as admin:
        assert await named(admin, ["web"]) == [WEB_0, WEB_1, WEB_2]
        assert await named(admin, ["web:2,0-1", "web:1"]) == [WEB_0, WEB_1, WEB_2]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("web:3", "no partition 3"),
        ("web:0-9", "no partition 3"),
        ("web:", "such as"),
        ("web:a", "such as"),
        ("web:-1", "such as"),
        ("web:1-", "such as"),
        ("web:0-999999999", "too many"),
    ],
)
async def test_partition_that_cannot_be_meant_is_refused(
    trio: FakeCluster,  # noqa: F811
    text: str,
    sentence: str,
) -> None:
    async with Admin(trio.bootstrap) as admin:
        with pytest.raises(CommandError, match=sentence):
            await named(admin, [text])


# --- What a reset would do ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "new"),
    [
        (Beginning(), 0),
        (End(), 10),
        (ToOffset(3), 3),
        (ToOffset(99), 10),
        (Shift(-2), 2),
        (Shift(-20), 0),
        (Shift(20), 10),
        (AtTime(1_007), 7),
        (AtTime(9_999), 10),
    ],
    ids=str,
)
async def test_goal_becomes_an_offset_that_the_partition_has(
    cluster: FakeCluster,  # noqa: F811
    goal: Beginning | End | ToOffset | Shift | AtTime,
    new: int,
) -> None:
    await fill(cluster, 10)
    async with Admin(cluster.bootstrap) as admin:
        await admin.alter_group_offsets("mine", {WEB_0: 4})
        (change,) = await plan(admin, "mine", [], goal)

    assert change == ("web", 0, 4, new, new - 4)


async def test_what_was_never_committed_cannot_be_shifted(cluster: FakeCluster) -> None:  # noqa: F811
    async with Admin(cluster.bootstrap) as admin:
        with pytest.raises(CommandError, match="nothing is committed"):
            await plan(admin, "mine", ["web"], Shift(1))


async def test_lag_of_a_group_is_what_it_has_not_committed(trio: FakeCluster) -> None:  # noqa: F811
    await fill(trio, 10)
    async with Admin(trio.bootstrap) as admin:
        await admin.alter_group_offsets("mine", {WEB_0: 4, WEB_1: 0})
        lags = await lags_of_groups(admin, ["mine"])
        sums = await lags_of_all(admin)

    assert [(each.partition, each.committed, each.end, each.lag, each.member) for each in lags] == [
        (0, 4, 10, 6, "-"),
        (1, 0, 0, 0, "-"),
    ]
    assert sums == [("mine", "Empty", 2, 6)]
