"""Topics: create, delete, add partitions.

Each topic of a request is decided on its own and is a step of its own, so that one that is
refused does not disturb the others, and a topic appears with all its partitions and settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from ottla.config.topic_settings import canonical_values
from ottla.controller import records
from ottla.controller.assignments import check_replicas, replicas_of_new_topic
from ottla.controller.decisions import STEP_BYTES_MAX, Decision, Step, decided, step_bytes
from ottla.controller.elections import available_brokers
from ottla.controller.placement import place
from ottla.controller.requests import (
    CreatedTopic,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    NewPartitions,
    NewTopic,
    TopicResult,
)
from ottla.controller.state import MetadataState
from ottla.model.errors import (
    InvalidPartitionsError,
    InvalidReplicaAssignmentError,
    InvalidRequestError,
    InvalidTopicError,
    OttlaError,
    TopicAlreadyExistsError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import BrokerId, LeaderEpoch, PartitionEpoch, TopicId
from ottla.model.image import PartitionImage, TopicImage
from ottla.model.limits import (
    PARTITIONS_PER_REQUEST_MAX,
    PARTITIONS_PER_TOPIC_MAX,
    TOPICS_PER_REQUEST_MAX,
)
from ottla.model.topic_names import INTERNAL_TOPICS, check_topic_name
from ottla.v1.metadata_record_pb2 import MetadataRecord

_FIRST_LEADER_EPOCH: Final = LeaderEpoch(0)
_FIRST_PARTITION_EPOCH: Final = PartitionEpoch(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDefaults:
    """What the controller's own configuration says about topics that do not say it themselves."""

    partitions: int = 1
    """``num.partitions``."""
    replication_factor: int = 1
    """``default.replication.factor``."""
    broker_configs: Mapping[str, str] = field(default_factory=dict)
    """Broker settings by broker key, those that topic settings fall back to among them."""


def create_topics(
    state: MetadataState,
    request: CreateTopics,
    *,
    defaults: TopicDefaults,
    new_topic_id: Callable[[], TopicId],
) -> Decision[tuple[CreatedTopic, ...]]:
    """Decide on new topics; ``new_topic_id`` makes an id that was never used."""
    check_topic_count(len(request.topics))
    # What is not a possible number is refused below, where its topic is named.
    partitions = [_partition_count(topic, defaults) for topic in request.topics]
    _check_partition_count(sum(n for n in partitions if 0 < n <= PARTITIONS_PER_TOPIC_MAX))
    names = _NewNames(state, [topic.name for topic in request.topics])
    results: list[CreatedTopic] = []
    steps: list[Step] = []
    for topic in request.topics:
        try:
            names.check(topic.name)
            result, step = _create_topic(state, topic, defaults, new_topic_id())
        except OttlaError as error:
            results.append(CreatedTopic(name=topic.name, error=error))
            continue
        names.take(topic.name)
        if request.validate_only:
            results.append(replace(result, topic_id=None))
        else:
            results.append(result)
            steps.append(step)
    return decided(state, tuple(results), *steps)


def delete_topics(state: MetadataState, request: DeleteTopics) -> Decision[tuple[TopicResult, ...]]:
    """Decide to delete topics."""
    check_topic_count(len(request.names) + len(request.topic_ids))
    ids = [(topic_id, state.image.topic_names.get(topic_id)) for topic_id in request.topic_ids]
    names = ExistingNames(state, [*request.names, *(name for _, name in ids if name is not None)])
    results: list[TopicResult] = []
    steps: list[Step] = []

    def delete(name: str) -> None:
        try:
            topic = names.find_changeable(name)
        except OttlaError as error:
            results.append(TopicResult(name=name, error=error))
            return
        results.append(TopicResult(name=name))
        steps.append((records.topic_deleted(topic.topic_id),))

    for name in request.names:
        delete(name)
    for topic_id, known in ids:
        if known is None:
            unknown = UnknownTopicIdError(f"there is no topic with the id {topic_id}")
            results.append(TopicResult(name="", error=unknown))
        else:
            delete(known)
    return decided(state, tuple(results), *steps)


def create_partitions(
    state: MetadataState, request: CreatePartitions
) -> Decision[tuple[TopicResult, ...]]:
    """Decide to add partitions; they continue the topic's pattern of placement."""
    check_topic_count(len(request.topics))
    names = ExistingNames(state, [topic.name for topic in request.topics])
    _check_partition_count(sum(_missing(state, topic) for topic in request.topics))
    results: list[TopicResult] = []
    steps: list[Step] = []
    for wanted in request.topics:
        try:
            step = _add_partitions(state, names.find_changeable(wanted.name), wanted)
        except OttlaError as error:
            results.append(TopicResult(name=wanted.name, error=error))
            continue
        results.append(TopicResult(name=wanted.name))
        if not request.validate_only:
            steps.append(step)
    return decided(state, tuple(results), *steps)


def check_topic_count(count: int) -> None:
    """Raise :exc:`InvalidRequestError` if a request is about more topics than one may be."""
    if count > TOPICS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"a request about {count} topics is too large; ask about at most "
            f"{TOPICS_PER_REQUEST_MAX} at a time"
        )


class ExistingNames:
    """Looks up the topics that a request names."""

    def __init__(self, state: MetadataState, names: Sequence[str]) -> None:
        self._topics = state.image.topics
        self._counts = Counter(names)

    def find(self, name: str) -> TopicImage:
        """Return the topic of this name; raises if the request has it twice or it is unknown."""
        _check_once(self._counts, name)
        topic = self._topics.get(name)
        if topic is None:
            raise UnknownTopicOrPartitionError(f"there is no topic {name!r}")
        return topic

    def find_changeable(self, name: str) -> TopicImage:
        """As :meth:`find`; raises also for what brokers keep for themselves."""
        topic = self.find(name)
        if name in INTERNAL_TOPICS:
            # A group belongs to a partition by the number of partitions that there are.
            raise InvalidTopicError(
                f"topic {name!r} is the brokers' own; it can be neither deleted nor enlarged"
            )
        return topic


class _NewNames:
    """Knows which names a request may give to new topics."""

    def __init__(self, state: MetadataState, names: Sequence[str]) -> None:
        self._topics = state.image.topics
        self._counts = Counter(names)
        # Made only if a name of the request can collide: it looks at every topic there is.
        collidable = any("." in name or "_" in name for name in names)
        self._by_metric_name = {_metric_name(n): n for n in self._topics} if collidable else {}

    def check(self, name: str) -> None:
        """Raise, saying why, unless a topic of this name may be created."""
        _check_once(self._counts, name)
        check_topic_name(name)
        if name in self._topics:
            count = len(self._topics[name].partitions)
            raise TopicAlreadyExistsError(
                f"topic {name!r} exists already, with {count} partition{'' if count == 1 else 's'}"
            )
        other = self._by_metric_name.get(_metric_name(name))
        if other is not None:
            raise InvalidTopicError(
                f"topic name {name!r} differs from that of topic {other!r} in '.' and '_' only, "
                "which metrics do not tell apart; choose another"
            )

    def take(self, name: str) -> None:
        """Note that the request has created a topic of this name."""
        self._by_metric_name[_metric_name(name)] = name


def _metric_name(name: str) -> str:
    return name.replace(".", "_")


def _check_once(counts: Counter[str], name: str) -> None:
    if counts[name] > 1:
        raise InvalidRequestError(
            f"the request names topic {name!r} {counts[name]} times; name it once"
        )


def _create_topic(
    state: MetadataState, topic: NewTopic, defaults: TopicDefaults, topic_id: TopicId
) -> tuple[CreatedTopic, Step]:
    numbers = range(_partition_count(topic, defaults))
    _check_partitions(topic.name, len(numbers))
    configs = canonical_values(topic.configs)
    placed = _replicas_of_new_topic(state, topic, defaults, topic_id)
    step = (
        records.topic_created(topic.name, topic_id),
        *_new_partitions(state, topic_id, numbers, placed),
        *(records.topic_config_changed(topic_id, key, configs[key]) for key in configs),
    )
    _check_step(topic.name, step)
    result = CreatedTopic(
        name=topic.name,
        topic_id=topic_id,
        partitions=len(numbers),
        replication_factor=len(placed[0]),
        configs=configs,
    )
    return result, step


def _replicas_of_new_topic(
    state: MetadataState, topic: NewTopic, defaults: TopicDefaults, topic_id: TopicId
) -> list[tuple[BrokerId, ...]]:
    if topic.assignments:
        return replicas_of_new_topic(
            state.image,
            topic.assignments,
            numbers_given=topic.partitions is not None or topic.replication_factor is not None,
            electable=available_brokers(state.image).electable,
        )
    return _place(
        state,
        topic_id,
        range(_partition_count(topic, defaults)),
        _or_default(topic.replication_factor, defaults.replication_factor),
    )


def _add_partitions(state: MetadataState, topic: TopicImage, wanted: NewPartitions) -> Step:
    present, partitions = len(topic.partitions), wanted.partitions
    if partitions <= present:
        noun = "partition" if present == 1 else "partitions"
        raise InvalidPartitionsError(
            f"topic {topic.name!r} has {present} {noun} already; their number can only be "
            f"raised, and {partitions} is not more"
        )
    _check_partitions(topic.name, partitions)
    first = topic.partitions[0]
    replication_factor = len(first.replicas) - len(first.adding_replicas)
    numbers = range(present, partitions)
    if wanted.assignments is None:
        placed = _place(state, topic.topic_id, numbers, replication_factor)
    else:
        placed = list(wanted.assignments)
        if len(placed) != len(numbers):
            raise InvalidReplicaAssignmentError(
                f"topic {topic.name!r} would get {len(numbers)} more partitions, and replicas are "
                f"named for {len(placed)}; name them for each that is added"
            )
        check_replicas(
            state.image,
            placed,
            first=present,
            replication_factor=replication_factor,
            electable=available_brokers(state.image).electable,
        )
    step = tuple(_new_partitions(state, topic.topic_id, numbers, placed))
    _check_step(topic.name, step)
    return step


def _place(
    state: MetadataState, topic_id: TopicId, numbers: range, replication_factor: int
) -> list[tuple[BrokerId, ...]]:
    return place(
        state.image.brokers.values(),
        partitions=numbers,
        replication_factor=replication_factor,
        # The id is random, so topics of few partitions begin at different brokers.
        rotation=topic_id.int,
    )


def _new_partitions(
    state: MetadataState,
    topic_id: TopicId,
    numbers: range,
    placed: Sequence[tuple[BrokerId, ...]],
) -> Iterator[MetadataRecord]:
    electable = available_brokers(state.image).electable
    for number, replicas in zip(numbers, placed, strict=True):
        yield records.partition_changed(topic_id, number, _new_partition(replicas, electable))


def _new_partition(
    replicas: tuple[BrokerId, ...], electable: AbstractSet[BrokerId]
) -> PartitionImage:
    """Return a partition without records: every replica that may lead is in sync at once."""
    in_sync = tuple(replica for replica in replicas if replica in electable)
    return PartitionImage(
        replicas=replicas,
        in_sync_replicas=in_sync,
        eligible_leader_replicas=(),
        leader=in_sync[0],
        leader_epoch=_FIRST_LEADER_EPOCH,
        partition_epoch=_FIRST_PARTITION_EPOCH,
    )


def _partition_count(topic: NewTopic, defaults: TopicDefaults) -> int:
    if topic.assignments:
        return len(topic.assignments)
    return _or_default(topic.partitions, defaults.partitions)


def _or_default(given: int | None, default: int) -> int:
    return default if given is None else given


def _missing(state: MetadataState, wanted: NewPartitions) -> int:
    """Return how many partitions the request adds, or 0 if it will be refused anyway."""
    topic = state.image.topics.get(wanted.name)
    if topic is None or wanted.partitions > PARTITIONS_PER_TOPIC_MAX:
        return 0
    return max(0, wanted.partitions - len(topic.partitions))


def _check_partition_count(count: int) -> None:
    if count > PARTITIONS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"a request for {count} new partitions is too large; ask for at most "
            f"{PARTITIONS_PER_REQUEST_MAX} at a time"
        )


def _check_partitions(name: str, partitions: int) -> None:
    if not 0 < partitions <= PARTITIONS_PER_TOPIC_MAX:
        raise InvalidPartitionsError(
            f"topic {name!r} cannot have {partitions} partitions; it has 1 to "
            f"{PARTITIONS_PER_TOPIC_MAX}"
        )


def _check_step(name: str, step: Step) -> None:
    size = step_bytes(step)
    if size > STEP_BYTES_MAX:
        raise InvalidPartitionsError(
            f"the partitions and replicas of topic {name!r} take {size} bytes of the metadata "
            f"log, and one change takes at most {STEP_BYTES_MAX}; ask for fewer partitions, and "
            "add more later"
        )
