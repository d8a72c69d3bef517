"""A cluster is established once, and its voters keep the directories that they have."""

from __future__ import annotations

import pytest

from ottla.controller.controller import Controller
from ottla.controller.requests import EstablishCluster, ReadmitVoter
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import InconsistentVoterSetError, InvalidRequestError
from ottla.model.ids import BrokerId
from tests.controller.metadata import CLUSTER_ID, Metadata, directory_id, registration


def readmission(broker: int, directory: bytes) -> ReadmitVoter:
    return ReadmitVoter(broker_id=BrokerId(broker), directory_id=directory)


def test_cluster_keeps_the_id_that_it_was_given_first() -> None:
    metadata = Metadata()
    version = metadata.machine.state.version

    assert metadata.machine.image.cluster_id == CLUSTER_ID
    assert metadata.ask(EstablishCluster(cluster_id="late")) == CLUSTER_ID
    assert metadata.machine.state.version == version


@pytest.mark.parametrize("cluster_id", ["", "c" * 101])
def test_impossible_cluster_id_is_refused(cluster_id: str) -> None:
    class Young(Metadata):
        """Its cluster has no id yet."""

        def ask(self, request: object) -> None:  # type: ignore[override] # asks nothing
            del request

    metadata = Young()
    controller = Controller(
        metadata.machine, new_topic_id=metadata._new_topic_id, defaults=TopicDefaults()
    )

    with pytest.raises(InvalidRequestError, match="a cluster id has 1 to 100 characters"):
        controller.decide(EstablishCluster(cluster_id=cluster_id), 0)


def test_first_registration_of_a_voter_admits_its_directory() -> None:
    metadata = Metadata()

    metadata.register(1, directory=7, voter=True)
    metadata.register(2, directory=8)

    assert metadata.machine.image.voters == {1: directory_id(7)}


def test_voter_that_registered_before_it_had_to_say_so_is_admitted_later() -> None:
    metadata = Metadata()
    metadata.register(1, directory=7)

    epoch = metadata.register(1, directory=7, voter=True)

    assert epoch == metadata.epoch_of(1)
    assert metadata.machine.image.voters == {1: directory_id(7)}


def test_voter_with_another_directory_is_refused_and_told_the_way_back() -> None:
    metadata = Metadata()
    metadata.register(1, directory=7, voter=True)

    with pytest.raises(InconsistentVoterSetError, match="ottla cluster readmit-voter 1"):
        metadata.register(1, incarnation=2, directory=8, voter=True)

    assert metadata.machine.image.voters == {1: directory_id(7)}


def test_readmitted_voter_registers_with_its_new_directory() -> None:
    metadata = Metadata()
    metadata.register(1, directory=7, voter=True)

    metadata.ask(readmission(1, directory_id(8)))
    metadata.register(1, incarnation=2, directory=8, voter=True)

    assert metadata.machine.image.voters == {1: directory_id(8)}
    with pytest.raises(InconsistentVoterSetError):
        metadata.register(1, incarnation=3, directory=7, voter=True)


def test_readmission_of_the_directory_that_is_known_writes_nothing() -> None:
    metadata = Metadata()
    metadata.register(1, directory=7, voter=True)
    version = metadata.machine.state.version

    metadata.ask(readmission(1, directory_id(7)))

    assert metadata.machine.state.version == version


def test_readmission_of_no_voter_or_of_no_directory_is_refused() -> None:
    metadata = Metadata()
    metadata.register(1, directory=7, voter=True)
    metadata.register(2, directory=8)

    with pytest.raises(InvalidRequestError, match="voters that have: 1"):
        metadata.ask(readmission(2, directory_id(9)))
    with pytest.raises(InvalidRequestError, match="has 16 bytes, not 3"):
        metadata.ask(readmission(1, b"abc"))


def test_voter_has_to_say_which_directory_it_has() -> None:
    metadata = Metadata()

    with pytest.raises(InvalidRequestError, match="its directory id has 0 bytes, not 16"):
        metadata.ask(registration(1, voter=True))
