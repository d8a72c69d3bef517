"""What ``ottla topic describe`` shows of a partition that moves."""

from __future__ import annotations

from dataclasses import replace

from ottla.cli import topic_work
from tests.cli.test_cluster_status import partition


def test_replicas_that_come_and_go_have_a_sign() -> None:
    moving = replace(
        partition(0, replicas=(3, 0, 1), adding=(3,), in_sync=(0, 1)), removing_replicas=(1,)
    )

    number, leader, replicas, in_sync, *_ = topic_work._partition_row(moving)

    assert (number, leader, replicas, in_sync) == (0, 0, "+3,0,-1", "0,1")


def test_partition_without_a_leader_says_so() -> None:
    row = topic_work._partition_row(partition(0, leader=-1, in_sync=()))

    assert row[1] == "none"
