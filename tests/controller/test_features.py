"""The level of a feature rises by hand, to what this version supports, and never falls."""

from __future__ import annotations

import pytest

from ottla.controller.controller import Controller
from ottla.controller.requests import SetFeatureLevel
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import InvalidRequestError
from tests.controller.metadata import Metadata


def level(level: int, name: str = "metadata.version") -> SetFeatureLevel:
    return SetFeatureLevel(name=name, level=level)


def test_level_is_set_once() -> None:
    metadata = Metadata()
    metadata.carry_out(metadata.controller.decide(level(1), 0))

    assert metadata.machine.state.feature_levels == {"metadata.version": 1}
    assert metadata.controller.decide(level(1), 0).steps == ()


def test_level_that_is_only_validated_is_not_set() -> None:
    metadata = Metadata()

    metadata.ask(SetFeatureLevel(name="metadata.version", level=1, validate_only=True))

    assert metadata.machine.state.feature_levels == {}


@pytest.mark.parametrize("wanted", [-1, 2])
def test_level_that_this_version_does_not_support_is_refused(wanted: int) -> None:
    metadata = Metadata()

    with pytest.raises(InvalidRequestError, match="supports up to 1"):
        metadata.controller.decide(level(wanted), 0)


def test_level_does_not_fall() -> None:
    metadata = Metadata()
    metadata.carry_out(metadata.controller.decide(level(1), 0))

    with pytest.raises(InvalidRequestError, match="at level 1 and cannot be set to 0"):
        metadata.controller.decide(level(0), 0)


def test_unknown_feature_is_refused_with_those_there_are() -> None:
    metadata = Metadata()

    with pytest.raises(InvalidRequestError, match=r"'magic'; there are metadata\.version"):
        metadata.controller.decide(level(1, "magic"), 0)


def test_request_of_no_known_kind_is_a_bug() -> None:
    metadata = Metadata()
    controller = Controller(
        metadata.machine, new_topic_id=metadata._new_topic_id, defaults=TopicDefaults()
    )

    with pytest.raises(AssertionError):
        controller.decide("please", 0)  # type: ignore[arg-type]
