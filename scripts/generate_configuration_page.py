"""Write the tables of ``docs/configuration.md`` from the tables in the code, or check them.

What stands above the marker is written by hand and left alone; what stands below is made of
``ottla/config/settings.py`` and ``ottla/config/topic_settings.py``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ottla.config.settings import SETTINGS, UNIT_ROWS, BrokerSetting, Section
from ottla.config.sources import environment_variable
from ottla.config.topic_settings import INERT_SETTINGS, TOPIC_SETTINGS, SettingType, TopicSetting

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
MARKER = "<!-- below: made by scripts/generate_configuration_page.py -->\n"

ABOUT_SECTION = {
    Section.TOPIC_DEFAULTS: "What a topic gets that does not set the topic setting itself; "
    "[the settings of topics](#settings-of-topics) say what each does.",
}


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
    """Return the page with its tables as they should be."""
    by_hand, marker, _ = page.partition(MARKER)
    assert marker, f"{PAGE} has lost its marker"
    return by_hand + MARKER + "".join(f"{line}\n" for line in _generated())


def _generated() -> Iterator[str]:
    yield ""
    yield "## Settings of brokers"
    yield ""
    yield (
        "Read when a broker starts, but for those that can be changed while brokers run "
        "([how](operations.md#settings-while-brokers-run)): the "
        f"[defaults of topic settings](#defaults-of-topic-settings){_dynamic_of_its_own()}."
    )
    for section in Section:
        rows = [row for row in SETTINGS.values() if row.section is section]
        yield ""
        yield f"### {section.value}"
        yield ""
        if section in ABOUT_SECTION:
            yield ABOUT_SECTION[section]
            yield ""
            yield from _table(
                ("setting", "environment", "of the topic setting"),
                ((_code(r.key), _code(environment_variable(r.key)), _topic_key(r)) for r in rows),
            )
            yield ""
            yield "In coarser units, as in Kafka; of several, the finest counts:"
            yield ""
            yield from _table(
                ("setting", "the same as", "takes"),
                ((_code(u.key), _code(u.means), u.kind.takes) for u in UNIT_ROWS.values()),
            )
        else:
            yield from _table(
                ("setting", "default", "takes", "what it does"),
                ((_code(r.key), _code(r.default), r.kind.takes, r.documentation) for r in rows),
            )
    yield ""
    yield "## Settings of topics"
    yield ""
    yield from _table(
        ("setting", "type", "default", "takes", "what it does"),
        (
            (_code(r.key), r.type.value, _code(r.default), _takes(r), r.documentation)
            for r in TOPIC_SETTINGS.values()
        ),
    )
    yield ""
    yield "### Without effect"
    yield ""
    yield (
        "Tools for Kafka expect these settings of topics. They are listed, with the values that "
        "are as good as true here; any other is refused."
    )
    yield ""
    yield from _table(
        ("setting", "type", "default", "takes", "what it is in Kafka"),
        (
            (_code(r.key), r.type.value, _code(r.default), _takes(r), r.documentation)
            for r in INERT_SETTINGS.values()
        ),
    )


def _dynamic_of_its_own() -> str:
    rows = [r for r in SETTINGS.values() if r.dynamic and r.section is not Section.TOPIC_DEFAULTS]
    return "".join(f", and {_code(row.key)}" for row in rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else "not set"


def _topic_key(row: BrokerSetting) -> str:
    return _code(next(each.key for each in TOPIC_SETTINGS.values() if each.synonym == row.key))


def _takes(row: TopicSetting) -> str:
    is_number = row.type in {SettingType.INT, SettingType.LONG}
    return row.takes.removeprefix("a whole number ") if is_number else row.takes


if __name__ == "__main__":
    sys.exit(main())
