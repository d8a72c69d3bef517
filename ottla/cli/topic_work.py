"""The work of ``ottla topic``: one function a subcommand, asking a broker and printing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from ottla.cli.client_loop import run_client
from ottla.cli.connection import Connection
from ottla.cli.output import ByteCount, print_facts, print_json, print_table, say
from ottla.cli.topic_sizes import with_sizes
from ottla.client.admin import Admin
from ottla.client.admin_values import (
    ConfigChange,
    ConfigEntry,
    ConfigOperation,
    ConfigResource,
    ConfigSource,
    CreatedTopic,
    NewTopic,
    PartitionDescription,
    TopicDescription,
)
from ottla.model.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

T = TypeVar("T")


def create(
    connection: Connection,
    names: Sequence[str],
    *,
    partitions: int,
    replication_factor: int,
    configs: Mapping[str, str],
    if_not_exists: bool,
    as_json: bool,
) -> None:
    """Create topics; 0 leaves a number to the broker."""
    created: list[CreatedTopic] = []

    async def ask(admin: Admin) -> None:
        for name in names:
            wanted = NewTopic(name, partitions, replication_factor, configs)
            try:
                created.extend(await admin.create_topics([wanted]))
            except TopicAlreadyExistsError:
                if not if_not_exists:
                    raise
                say(f"topic {name} is there already")

    try:
        _with_admin(connection, ask)
    finally:
        # Also those before the one that could not be created.
        _print_created(created, as_json=as_json)


def _print_created(created: Sequence[CreatedTopic], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "name": topic.name,
                    "topic_id": str(topic.topic_id),
                    "partitions": topic.partitions,
                    "replication_factor": topic.replication_factor,
                }
                for topic in created
            ]
        )
        return
    for topic in created:
        print(
            f"created topic {topic.name} with {_count(topic.partitions, 'partition')} and "
            f"replication factor {topic.replication_factor}"
        )


def list_(connection: Connection, *, internal: bool, as_json: bool) -> None:
    """List topics."""

    async def ask(admin: Admin) -> list[TopicDescription]:
        return await with_sizes(admin, await admin.describe_topics(include_internal=internal))

    topics = _with_admin(connection, ask)
    rows = [
        (t.name, len(t.partitions), _replicas(t), _records(t), _size_bytes(t))
        for t in sorted(topics, key=lambda topic: topic.name)
    ]
    columns = ("topic", "partitions", "replicas", "records", "bytes")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, [["?" if cell is None else cell for cell in row] for row in rows])


def describe(connection: Connection, names: Sequence[str], *, as_json: bool) -> None:
    """Describe topics, all of them if none is named."""

    async def ask(admin: Admin) -> list[tuple[TopicDescription, list[ConfigEntry]]]:
        topics = await with_sizes(admin, await admin.describe_topics(names or None))
        resources = [ConfigResource.topic(topic.name) for topic in topics]
        configs = await admin.describe_configs(resources) if resources else {}
        return [
            (topic, configs[resource]) for topic, resource in zip(topics, resources, strict=True)
        ]

    described = _with_admin(connection, ask)
    if as_json:
        print_json([_as_document(topic, configs) for topic, configs in described])
        return
    for index, (topic, configs) in enumerate(described):
        if index:
            print()
        print_facts(_facts(topic, configs))
        print_table(
            ("partition", "leader", "replicas", "in sync", "start", "end", "size"),
            [_partition_row(partition) for partition in topic.partitions],
        )


def alter(
    connection: Connection,
    name: str,
    *,
    partitions: int | None,
    configs: Mapping[str, str],
    deleted_configs: Sequence[str],
) -> None:
    """Change a topic; everything is checked before anything is done."""
    changes = [ConfigChange(key, value) for key, value in configs.items()]
    changes += [ConfigChange(key, operation=ConfigOperation.DELETE) for key in deleted_configs]

    async def ask(admin: Admin) -> None:
        for validate_only in (True, False):
            if partitions is not None:
                await admin.create_partitions({name: partitions}, validate_only=validate_only)
            if changes:
                await admin.alter_configs(
                    {ConfigResource.topic(name): changes}, validate_only=validate_only
                )

    _with_admin(connection, ask)
    print(f"altered topic {name}")


def delete(connection: Connection, names: Sequence[str], *, if_exists: bool) -> None:
    """Delete topics."""

    async def ask(admin: Admin) -> None:
        for name in names:
            try:
                await admin.delete_topics([name])
            except UnknownTopicOrPartitionError:
                if not if_exists:
                    raise
                say(f"there is no topic {name}")
            else:
                print(f"deleted topic {name}")

    _with_admin(connection, ask)


def _with_admin(connection: Connection, ask: Callable[[Admin], Awaitable[T]]) -> T:
    async def run() -> T:
        async with Admin(connection.servers, **connection.options()) as admin:
            return await ask(admin)

    return run_client(run())


def _replicas(topic: TopicDescription) -> int:
    return max((len(partition.replicas) for partition in topic.partitions), default=0)


def _records(topic: TopicDescription) -> int | None:
    """Offsets in use; ``None`` if a partition is led by nobody who could be asked."""
    if any(partition.high_watermark < 0 for partition in topic.partitions):
        return None
    return sum(p.high_watermark - p.log_start_offset for p in topic.partitions)


def _size_bytes(topic: TopicDescription) -> int | None:
    if any(partition.size_bytes < 0 for partition in topic.partitions):
        return None
    return ByteCount(sum(partition.size_bytes for partition in topic.partitions))


def _facts(topic: TopicDescription, configs: Sequence[ConfigEntry]) -> dict[str, object]:
    facts: dict[str, object] = {
        "topic": topic.name,
        "id": topic.topic_id,
        "partitions": len(topic.partitions),
        "replicas": _replicas(topic),
    }
    for entry in configs:
        if entry.source is not ConfigSource.DEFAULT_CONFIG:
            facts[entry.key] = entry.value
    return facts


def _partition_row(partition: PartitionDescription) -> Sequence[object]:
    return (
        partition.partition,
        partition.leader if partition.leader >= 0 else "none",
        ",".join(_replica(partition, broker_id) for broker_id in partition.replicas),
        ",".join(map(str, partition.in_sync_replicas)),
        partition.log_start_offset if partition.log_start_offset >= 0 else "?",
        partition.high_watermark if partition.high_watermark >= 0 else "?",
        ByteCount(partition.size_bytes) if partition.size_bytes >= 0 else "?",
    )


def _replica(partition: PartitionDescription, broker_id: int) -> str:
    """Return a replica's broker, with a sign where a reassignment brings it or takes it away."""
    if broker_id in partition.adding_replicas:
        return f"+{broker_id}"
    return f"-{broker_id}" if broker_id in partition.removing_replicas else str(broker_id)


def _as_document(topic: TopicDescription, configs: Sequence[ConfigEntry]) -> dict[str, object]:
    return {
        "name": topic.name,
        "topic_id": str(topic.topic_id),
        "internal": topic.is_internal,
        "partitions": [
            {
                "partition": each.partition,
                "leader": each.leader,
                "leader_epoch": each.leader_epoch,
                "replicas": each.replicas,
                "in_sync_replicas": each.in_sync_replicas,
                "eligible_leader_replicas": each.eligible_leader_replicas,
                "adding_replicas": each.adding_replicas,
                "removing_replicas": each.removing_replicas,
                "log_start_offset": each.log_start_offset,
                "high_watermark": each.high_watermark,
                "size_bytes": each.size_bytes,
            }
            for each in topic.partitions
        ],
        "configs": {
            entry.key: {"value": entry.value, "source": entry.source.name} for entry in configs
        },
    }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
