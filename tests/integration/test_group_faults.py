"""Groups lose nothing and commit nothing back, whatever happens to members and brokers.

The same with clients in three languages and more faults: ``make compat ONLY=groups``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from compat.group_survival.faults import (
    Fault,
    add_member,
    kill_coordinator_and_member,
    kill_member,
    pause_coordinator,
    restart_brokers,
)
from compat.group_survival.trial import SETTINGS, Trial
from ottla.config.addresses import Address
from ottla.model.errors import CoordinatorNotAvailableError, NotCoordinatorError
from ottla.testing.cluster_processes import ClusterProcesses
from ottla.testing.cluster_questions import ask
from ottla.testing.sandbox import OttlaBroker, OttlaCluster
from ottla.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults,
    pytest.mark.timeout(180),
    # Sockets that kafka-python and aiokafka left open in other tests are found in these.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PER_SECOND = 80.0
DEADLINE_S = 30.0
GROUP = "group"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    directory = tmp_path_factory.mktemp("cluster")
    with ClusterProcesses(data_directory=directory, settings=SETTINGS) as processes:
        yield processes


@pytest.fixture
def cluster(shared: ClusterProcesses) -> ClusterProcesses:
    """Three brokers that run, whatever the test before did to them."""
    return shared.start()


def survives(
    cluster: ClusterProcesses,
    directory: Path,
    protocol: str,
    kinds: Sequence[str],
    *faults: Callable[[Trial, random.Random], str],
) -> None:
    trial = Trial(
        cluster=cluster,
        protocol=protocol,
        kinds=kinds,
        directory=directory,
        partitions=4,
        per_second=PER_SECOND,
    )
    account = trial.run([Fault(fault.__name__, fault) for fault in faults], random.Random(1))
    assert account.is_clean, str(account)


def test_a_classic_group_loses_nothing(cluster: ClusterProcesses, tmp_path: Path) -> None:
    kinds = ("python", "python")
    survives(cluster, tmp_path, "classic", kinds, kill_coordinator_and_member, pause_coordinator)


def test_a_consumer_group_of_both_doors_loses_nothing(
    cluster: ClusterProcesses, tmp_path: Path
) -> None:
    kinds = ("python", "grpc")
    survives(cluster, tmp_path, "consumer", kinds, kill_member, add_member, restart_brokers)


def commit(broker: OttlaBroker, topic: str, offset: int) -> int:
    part = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
    place = OffsetCommitRequestTopic(name=topic, partitions=[part])
    request = OffsetCommitRequest(group_id=GROUP, generation_id_or_member_epoch=-1, topics=[place])
    code: int = ask(_address(broker), request, 9).topics[0].partitions[0].error_code
    return code


def committed(broker: OttlaBroker, topic: str) -> tuple[int, int]:
    """Return what a broker answers: an error, or an offset."""
    place = OffsetFetchRequestTopics(name=topic, partition_indexes=[0])
    group = OffsetFetchRequestGroup(group_id=GROUP, topics=[place])
    answer = ask(_address(broker), OffsetFetchRequest(groups=[group]), 9).groups[0]
    if answer.error_code:
        return answer.error_code, -1
    return 0, answer.topics[0].partitions[0].committed_offset


def _address(broker: OttlaBroker) -> Address:
    host, port = broker.kafka.split(":")
    return Address(host, int(port))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


def test_a_coordinator_that_is_cut_off_answers_nobody_once_it_was_replaced() -> None:
    settings = {"broker.session.timeout.ms": "1500", "offsets.commit.timeout.ms": "1000"}
    with OttlaCluster(3, settings=settings) as sandbox:
        topic = sandbox.topic()
        old = sandbox.coordinator_of(GROUP)
        wait_until(lambda: commit(old, topic, 10) == 0, "nothing was committed")
        assert committed(old, topic) == (0, 10)

        sandbox.isolate(old.id)  # but not from its clients
        others = [broker for broker in sandbox.brokers if broker is not old]
        wait_until(
            lambda: any(commit(broker, topic, 20) == 0 for broker in others), "nobody took over"
        )
        assert committed(old, topic)[0] == NotCoordinatorError.code
        assert commit(old, topic, 15) == CoordinatorNotAvailableError.code

        sandbox.heal()
        wait_until(lambda: committed(sandbox.coordinator_of(GROUP), topic) == (0, 20), "not healed")
