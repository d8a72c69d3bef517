"""One module for each kind of suite; :data:`SUITES` has them all, in the order of a run."""

from __future__ import annotations

from typing import Final

from compat.suites import groups, grpc_round_trip, kafka_python, librdkafka, scenarios
from compat.suites.suite import Suite

SUITES: Final[dict[str, Suite]] = {
    suite.name: suite
    for suite in (
        *scenarios.SUITES,
        grpc_round_trip.SUITE,
        groups.SUITE,
        kafka_python.SUITE,
        *librdkafka.SUITES,
    )
}
"""By name."""
