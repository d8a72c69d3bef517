"""Write the table of ``docs/kafka.md`` from the requests that the code serves, or check it.

What stands above the marker is written by hand and left alone; what stands below is made of the
lists of handlers from which a broker takes its answer to ApiVersions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from ottla.cluster.services import Services
from ottla.kafka.apis import all_apis
from ottla.kafka.handling import ServedApi
from ottla.model.ids import BrokerId
from ottla.runtime.system_clock import SystemClock
from ottla.wire.api_keys import ApiKey

PAGE = Path(__file__).resolve().parent.parent / "docs" / "kafka.md"
MARKER = "<!-- below: made by scripts/generate_kafka_page.py -->\n"


class _NeverAsked:
    """Stands for services: handlers are made here, and none of them is called."""

    def __getattr__(self, name: str) -> _NeverAsked:
        return self

    def __call__(self, *_arguments: object, **_keywords: object) -> _NeverAsked:
        return self


def main() -> int:
    """Write the page, or with ``--check`` compare it; 1 if it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare and change nothing")
    check: bool = parser.parse_args().check
    page = PAGE.read_text()
    fresh = refreshed(page)
    if check and page != fresh:
        print(f"{PAGE} is stale; run {Path(sys.argv[0]).name}", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(fresh)
    return 0


def refreshed(page: str) -> str:
    """Return the page with its table as it should be."""
    by_hand, marker, _ = page.partition(MARKER)
    assert marker, f"{PAGE} has lost its marker"
    return by_hand + MARKER + "".join(f"{line}\n" for line in _generated())


def served() -> list[ServedApi]:
    """Return what a broker serves."""
    apis = all_apis(
        cast("Services", _NeverAsked()),
        broker_id=BrokerId(0),
        feature_levels=dict,
        fetch_bytes_max=1,
        clock=SystemClock(),
    )
    return sorted(apis, key=lambda api: api.api_key)


def _generated() -> Iterator[str]:
    yield ""
    yield "| key | request | versions |"
    yield "| --: | --- | --- |"
    for api in served():
        yield f"| {api.api_key.value} | {_name(api.api_key)} | {_versions(api)} |"


def _name(api_key: ApiKey) -> str:
    return "".join(word.capitalize() for word in api_key.name.split("_"))


def _versions(api: ServedApi) -> str:
    first, last = api.min_version, api.max_version
    return f"{first}" if first == last else f"{first} to {last}"


if __name__ == "__main__":
    sys.exit(main())
