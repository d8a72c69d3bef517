"""Messages are plain values with the defaults of Kafka's schema, imported one by one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ottla.wire.messages import fetch, join_group, metadata, produce
from ottla.wire.plan import is_within


def test_defaults_are_those_of_kafkas_schema() -> None:
    assert produce.ProduceRequest().transactional_id is None
    assert produce.PartitionProduceResponse().log_append_time_ms == -1
    assert fetch.FetchRequest().max_bytes == 2**31 - 1
    assert fetch.PartitionData().preferred_read_replica == -1
    assert metadata.MetadataResponse().cluster_authorized_operations == -(2**31)
    assert join_group.JoinGroupRequest().rebalance_timeout_ms == -1


def test_two_messages_do_not_share_a_list() -> None:
    first, second = fetch.FetchRequest(), fetch.FetchRequest()
    first.topics.append(fetch.FetchTopic(topic="orders"))

    assert second.topics == []


def test_messages_are_equal_if_all_fields_are() -> None:
    assert fetch.FetchTopic(topic="a") == fetch.FetchTopic(topic="a")
    assert fetch.FetchTopic(topic="a") != fetch.FetchTopic(topic="b")
    assert fetch.FetchTopic(topic="a") != fetch.ForgottenTopic(topic="a")


def test_message_prints_its_fields() -> None:
    assert repr(fetch.EpochEndOffset(epoch=3)) == "EpochEndOffset(epoch=3, end_offset=-1)"


def test_message_has_no_other_attributes() -> None:
    message = fetch.EpochEndOffset()

    with pytest.raises(AttributeError):
        setattr(message, "leader_epoch", 3)  # noqa: B010 -- mypy knows that it cannot be set


def test_messages_are_imported_when_they_are_needed() -> None:
    program = (
        "import sys; from ottla.wire import frames;"
        "print(sorted(name for name in sys.modules if name.startswith('ottla.wire.messages.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "['ottla.wire.messages.catalogue']"


@pytest.mark.parametrize(
    ("span", "versions"),
    [("", []), ("2", [2]), ("1-3", [1, 2, 3]), ("0-0", [0]), ("3+", [3, 4, 5])],
)
def test_versions_are_written_as_kafka_writes_them(span: str, versions: list[int]) -> None:
    assert [version for version in range(6) if is_within(version, span)] == versions
