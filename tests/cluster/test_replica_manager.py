"""What the metadata log says of this broker's partitions is carried out, and only then shown."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest

from ottla.model.errors import (
    NotLeaderOrFollowerError,
    StorageError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import (
    NO_BROKER,
    BrokerEpoch,
    BrokerId,
    LeaderEpoch,
    Offset,
    TopicId,
    TopicPartition,
)
from ottla.model.image import BrokerImage, TopicImage
from ottla.replication.leader import FollowerFetched
from ottla.storage.uuid_text import uuid_to_text
from tests.cluster.world import (
    DIRECTORY,
    ME,
    OTHER,
    SlowDisk,
    World,
    batch,
    broker,
    partition,
    until,
)

WEB_0 = TopicPartition("web", 0)


@pytest.fixture
async def restarted(world: World) -> AsyncIterator[World]:
    """The same disk after the power failed, with one record in ``web-0``; not started yet."""
    await world.appended(batch(b"kept"))
    world.disk.crash()
    again = World(disk=world.disk)
    again.image = replace(
        again.image, topics=world.image.topics, topic_names=world.image.topic_names
    )
    yield again
    await again.stop()


async def test_new_topic_can_be_used_once_its_image_is_seen(world: World) -> None:
    await world.create_topic("orders", partitions=3)

    for number in range(3):
        assert (await world.appended(name="orders", number=number)).base_offset == 0


async def test_logs_of_new_partitions_survive_a_crash_at_once(world: World) -> None:
    world.disk.crash()

    assert world.disk.exists(DIRECTORY / "web-0" / "partition.metadata")


async def test_only_partitions_with_a_replica_here_are_hosted(world: World) -> None:
    parts = (partition((OTHER,), leader=OTHER), partition((OTHER, ME), leader=OTHER))
    topic = TopicImage(topic_id=TopicId(UUID(int=99)), name="x", partitions=parts, configs={})

    await world.put_topic(topic)

    assert [tp for tp in world.replicas.partitions if tp.topic == "x"] == [TopicPartition("x", 1)]


async def test_partition_of_another_leader_is_hosted_and_not_led(world: World) -> None:
    await world.change_partition("web", 0, replicas=(OTHER, ME), leader=OTHER)

    with pytest.raises(NotLeaderOrFollowerError, match="broker 2 does"):
        world.replicas.led(WEB_0)


async def test_partition_without_a_leader_is_not_led(world: World) -> None:
    await world.change_partition("web", 0, leader=NO_BROKER)

    with pytest.raises(NotLeaderOrFollowerError):
        world.replicas.led(WEB_0)


async def test_new_epoch_begins_a_new_reign(world: World) -> None:
    await world.appended()
    await world.change_partition("web", 0, leader_epoch=7)

    await world.appended()

    entries = world.partition().log.leader_epochs.entries
    assert [tuple(entry) for entry in entries] == [(0, 0), (7, 1)]


async def test_high_watermark_is_kept_from_one_reign_to_the_next(world: World) -> None:
    await world.appended()
    await world.change_partition("web", 0, leader=NO_BROKER)

    kept = world.partition().high_watermark
    await world.change_partition("web", 0, leader=ME)

    assert (kept, world.partition().high_watermark) == (1, 1)


async def test_replica_that_is_only_being_brought_is_not_missing(world: World) -> None:
    both = {"replicas": (ME, OTHER), "in_sync_replicas": (ME,)}
    await world.change_partition("web", 0, **both, adding_replicas=(OTHER,))
    brought = world.partition().is_under_replicated
    await world.change_partition("web", 0, **both, adding_replicas=())

    assert (brought, world.partition().is_under_replicated) == (False, True)


async def test_added_partitions_are_made(world: World) -> None:
    topic = world.image.topics["web"]

    await world.put_topic(replace(topic, partitions=(*topic.partitions, partition())))

    assert (await world.appended(number=2)).base_offset == 0


async def test_altered_settings_reach_the_log(world: World) -> None:
    await world.alter_topic("web", retention_ms="5")

    assert world.partition().log.config.retention_ms == 5
    assert world.partition("web", 1).settings is world.partition().settings


async def test_altered_write_caching_commits_what_waits_for_the_disk(world: World) -> None:
    world.disk.hold()
    pending = world.begin(("web", 0, batch()))

    await world.alter_topic("web", write_caching="true")

    assert pending.results() is not None


@pytest.mark.parametrize("owner", [None, ME])
async def test_altered_default_of_brokers_reaches_the_log(
    world: World, owner: BrokerId | None
) -> None:
    await world.publish(broker_configs={owner: {"log.retention.ms": "5"}})

    assert world.partition().log.config.retention_ms == 5


async def test_altered_default_of_another_broker_concerns_nobody_here(world: World) -> None:
    before = world.partition().settings

    await world.publish(broker_configs={OTHER: {"log.retention.ms": "5"}})

    assert world.partition().settings is before


async def test_altered_default_of_all_brokers_decides_how_many_must_be_in_sync(
    world: World,
) -> None:
    await world.change_partition("web", 0, replicas=(ME, OTHER), in_sync_replicas=(ME,))
    before = world.partition().leader.is_under_min_insync

    await world.publish(broker_configs={None: {"min.insync.replicas": "2"}})

    assert not before
    assert world.partition().leader.is_under_min_insync


async def test_default_taken_back_leaves_what_the_broker_was_started_with(world: World) -> None:
    before = world.partition().log.config.retention_ms
    await world.publish(broker_configs={None: {"log.retention.ms": "5"}})

    await world.publish(broker_configs={})

    assert world.partition().log.config.retention_ms == before


async def test_topics_own_setting_outranks_the_altered_default(world: World) -> None:
    await world.alter_topic("web", retention_ms="7")

    await world.publish(broker_configs={None: {"log.retention.ms": "5"}})

    assert world.partition().log.config.retention_ms == 7


async def test_image_that_concerns_no_partition_is_shown_at_once(world: World) -> None:
    before = world.disk.operations

    await world.publish()

    assert world.disk.operations == before


# --- Deletion ---------------------------------------------------------------------------


async def test_deleted_topic_is_unknown_and_its_directory_is_set_aside(world: World) -> None:
    await world.appended()

    await world.delete_topic("web")

    with pytest.raises(UnknownTopicOrPartitionError):
        world.replicas.led(WEB_0)
    names = world.disk.list(DIRECTORY)
    assert "web-0" not in names
    assert any(name.startswith("web-0.") and name.endswith("-delete") for name in names)
    assert "web" not in world.counted.topics


async def test_log_is_not_set_aside_while_it_is_being_synced(world: World) -> None:
    world.disk.hold()
    world.begin(("web", 0, batch()))
    await until(lambda: world.disk.waiting)
    deleting = asyncio.create_task(world.delete_topic("web"))
    for _ in range(10):
        await asyncio.sleep(0)
    during = world.disk.list(DIRECTORY)

    world.disk.let_go()
    await deleting

    assert "web-0" in during
    assert "web-0" not in world.disk.list(DIRECTORY)


async def test_topic_created_again_under_its_name_begins_empty(world: World) -> None:
    await world.appended()
    again = replace(world.image.topics["web"], topic_id=TopicId(UUID(int=1234)))

    await world.put_topic(again)

    assert world.log_end() == 0
    assert (await world.appended()).base_offset == 0


async def test_files_of_a_deleted_topic_go_after_the_delay(world: World) -> None:
    await world.delete_topic("web")
    await world.maintenance.run_due()
    early = [name for name in world.disk.list(DIRECTORY) if name.endswith("-delete")]

    world.clock.passed_ms += 60_000
    await world.maintenance.run_due()

    assert len(early) == 2
    assert not [name for name in world.disk.list(DIRECTORY) if name.endswith("-delete")]


# --- The start ---------------------------------------------------------------------------


async def test_log_follows_settings_that_were_altered_while_the_broker_was_down(
    restarted: World,
) -> None:
    web = restarted.image.topics["web"]
    altered = replace(web, configs={"retention.ms": "5"})
    restarted.image = replace(restarted.image, topics={"web": altered})

    await restarted.start()

    assert restarted.partition().log.config.retention_ms == 5


async def test_records_are_there_after_a_crash(restarted: World) -> None:
    await restarted.start()
    await restarted.flushed()

    assert restarted.partition().high_watermark == 1
    assert (await restarted.appended()).base_offset == 1


async def test_log_of_a_topic_never_heard_of_is_set_aside_and_kept(restarted: World) -> None:
    restarted.image = replace(restarted.image, topics={}, topic_names={})

    await restarted.start()
    restarted.clock.passed_ms += 3_600_000
    await restarted.maintenance.run_due()

    names = restarted.disk.list(DIRECTORY)
    assert "web-0" not in names
    assert [name[:6] for name in names if name.endswith("-stray")] == ["web-0.", "web-1."]


async def with_another_topic_id(world: World) -> TopicId:
    web = replace(world.image.topics["web"], topic_id=TopicId(UUID(int=777)))
    world.image = replace(world.image, topics={"web": web}, topic_names={web.topic_id: "web"})
    await world.start()
    return web.topic_id


async def test_records_of_another_topic_of_the_same_name_are_kept(restarted: World) -> None:
    log_id = restarted.image.topics["web"].topic_id

    topic_id = await with_another_topic_id(restarted)

    reason = str(restarted.replicas.offline[WEB_0])
    assert uuid_to_text(log_id) in reason
    assert uuid_to_text(topic_id) in reason
    assert "00000000000000000000.log" in restarted.disk.list(DIRECTORY / "web-0")


async def test_directory_that_names_a_topic_that_lives_is_kept(restarted: World) -> None:
    other = replace(restarted.image.topics["web"], name="other", partitions=())
    web = replace(other, topic_id=TopicId(UUID(int=777)), name="web", partitions=(partition(),))
    restarted.image = replace(
        restarted.image,
        topics={"web": web, "other": other},
        topic_names={web.topic_id: "web", other.topic_id: "other"},
    )
    await restarted.start()

    await restarted.create_topic("later")

    assert WEB_0 in restarted.replicas.offline
    assert "00000000000000000000.log" in restarted.disk.list(DIRECTORY / "web-0")


async def test_empty_log_of_another_topic_of_the_same_name_is_replaced(restarted: World) -> None:
    await with_another_topic_id(restarted)

    assert (await restarted.appended(number=1)).base_offset == 0


async def test_partition_kept_for_another_topic_is_set_aside_when_its_own_goes(
    restarted: World,
) -> None:
    await with_another_topic_id(restarted)

    await restarted.delete_topic("web")

    assert not restarted.replicas.offline
    assert any(n.startswith("web-0.") and "-stray" in n for n in restarted.disk.list(DIRECTORY))


async def test_failed_directory_gets_no_new_logs(world: World) -> None:
    world.directory.fail(StorageError("the disk is full"))

    await world.create_topic("orders")

    assert "disk is full" in str(world.replicas.offline[TopicPartition("orders", 0)])
    assert "orders-0" not in world.disk.list(DIRECTORY)


async def test_offline_partition_of_a_deleted_topic_is_forgotten(world: World) -> None:
    world.disk.fail("append", errno.EIO, name_suffix="orders-0/partition.metadata.tmp")
    await world.create_topic("orders")
    offline = list(world.replicas.offline)

    await world.delete_topic("orders")

    assert (len(offline), list(world.replicas.offline)) == (1, [])


async def test_partition_whose_directory_is_gone_is_offline_until_its_topic_is_deleted(
    restarted: World,
) -> None:
    await restarted.start()
    await restarted.flushed()
    await restarted.maintenance.run_due()
    restarted.logs.checkpoint(restarted.replicas.high_watermarks())
    restarted.disk.crash()
    restarted.disk.remove(DIRECTORY / "web-0")
    again = World(disk=restarted.disk)
    again.image = replace(
        again.image, topics=restarted.image.topics, topic_names=restarted.image.topic_names
    )
    await again.start()

    with pytest.raises(StorageError, match=r"web-0 is missing.* or delete the topic"):
        again.replicas.led(WEB_0)
    assert again.replicas.led(TopicPartition("web", 1)).is_leader
    await again.delete_topic("web")
    await again.create_topic("web")
    assert (await again.appended()).base_offset == 0
    await again.stop()


async def test_partition_whose_directory_is_gone_begins_anew_if_nobody_counts_on_it(
    restarted: World,
) -> None:
    await restarted.start()
    await restarted.flushed()
    restarted.logs.checkpoint(restarted.replicas.high_watermarks())
    restarted.disk.crash()
    restarted.disk.remove(DIRECTORY / "web-0")
    again = World(disk=restarted.disk)
    (web,) = restarted.image.topics.values()
    others = replace(
        web.partitions[0],
        replicas=(again.broker_id, BrokerId(7)),
        in_sync_replicas=(BrokerId(7),),
        leader=BrokerId(7),
    )
    topics = {"web": replace(web, partitions=(others, *web.partitions[1:]))}
    again.image = replace(again.image, topics=topics, topic_names=restarted.image.topic_names)
    await again.start()

    assert WEB_0 not in again.replicas.offline
    assert again.replicas.partitions[WEB_0].log.log_end_offset == 0
    await again.stop()


async def test_log_that_cannot_be_made_takes_its_partition_offline_alone(world: World) -> None:
    world.disk.fail("append", errno.EIO, name_suffix="orders-0/partition.metadata.tmp")

    await world.create_topic("orders", partitions=2)

    with pytest.raises(StorageError, match="orders-0 is offline"):
        world.replicas.led(TopicPartition("orders", 0))
    assert world.replicas.led(TopicPartition("orders", 1)).is_leader


async def test_broker_that_is_not_registered_leads_nothing() -> None:
    world = World(disk=SlowDisk(seed=0))
    await world.start()
    await world.publish(brokers={OTHER: broker(OTHER)})

    await world.create_topic("web")

    with pytest.raises(NotLeaderOrFollowerError):
        world.replicas.led(WEB_0)
    await world.stop()


# --- Roles -----------------------------------------------------------------------------------


async def test_broker_leads_nothing_in_the_name_of_its_earlier_life(world: World) -> None:
    led = world.partition()
    earlier = replace(broker(ME), incarnation_id=b"an earlier life!")

    await world.publish(brokers={ME: earlier})
    assert not led.is_leader

    await world.publish(brokers={ME: broker(ME)})
    assert led.is_leader


@pytest.mark.parametrize(
    ("other", "is_proposed"),
    [
        (broker(OTHER), True),
        (broker(OTHER, fenced=True), False),
        (replace(broker(OTHER), shutting_down=True), False),
    ],
)
async def test_brokers_that_stop_or_are_fenced_are_not_added_to_in_sync_sets(
    world: World, other: BrokerImage, *, is_proposed: bool
) -> None:
    proposed: list[object] = []
    world.propose_isr = lambda _, effect: proposed.append(effect)
    await world.publish(brokers={ME: broker(ME), OTHER: other})
    await world.change_partition("web", 0, replicas=(ME, OTHER), in_sync_replicas=(ME,))

    world.partition().step_leader(
        FollowerFetched(
            replica=OTHER,
            broker_epoch=BrokerEpoch(1),
            leader_epoch=LeaderEpoch(0),
            fetch_offset=Offset(world.log_end()),
        )
    )

    assert bool(proposed) is is_proposed


async def test_partition_is_found_by_the_id_of_its_topic(world: World) -> None:
    topic_id = world.image.topics["web"].topic_id

    assert world.replicas.by_topic_id(topic_id, 0) is world.partition()
    assert world.replicas.by_topic_id(topic_id, 7) is None
    await world.delete_topic("web")
    assert world.replicas.by_topic_id(topic_id, 0) is None
