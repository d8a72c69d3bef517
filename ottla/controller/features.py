"""Feature levels: what the log may hold.

A version of the broker that brings a new kind of record, or a new meaning of an old one, must not
write it while older brokers are in the cluster: they would stop at it. It writes it once the log
itself says that it may, and that is said by hand, when the last old broker is gone. Levels only
rise, because what a higher one brought may be in the log already.
"""

from __future__ import annotations

from ottla.controller import records
from ottla.controller.decisions import Decision, decided
from ottla.controller.requests import SetFeatureLevel
from ottla.controller.state import SUPPORTED_FEATURES, MetadataState
from ottla.model.errors import InvalidRequestError


def set_feature_level(state: MetadataState, request: SetFeatureLevel) -> Decision[None]:
    """Decide to raise a feature to a level that this version supports."""
    highest = SUPPORTED_FEATURES.get(request.name)
    if highest is None:
        raise InvalidRequestError(
            f"unknown feature {request.name[:100]!r}; there are {', '.join(SUPPORTED_FEATURES)}"
        )
    present = state.feature_levels.get(request.name, 0)
    if request.level == present:
        return decided(state, None)
    if not present < request.level <= highest:
        raise InvalidRequestError(
            f"feature {request.name} is at level {present} and cannot be set to {request.level}: "
            f"levels only rise, and this version supports up to {highest}"
        )
    if request.validate_only:
        return decided(state, None)
    return decided(state, None, (records.feature_level(request.name, request.level),))
