"""``docs/compatibility.md``, written from what was recorded last."""

from __future__ import annotations

from typing import Final

from compat import expectations, record
from compat.installation import ROOT
from compat.record import Record
from compat.results import CaseResult, Outcome
from compat.scores import Score
from compat.suites import SUITES
from compat.suites.suite import Suite

PATH: Final = ROOT / "docs" / "compatibility.md"

_HEAD: Final = """\
# Compatibility with Kafka

Written by `make compat`, which runs other people's clients and their own tests against a fresh
cluster of three brokers. Do not edit it: edit `compat/`, and run `make compat DOCS=1`.

Ottla {version}, {date}. The same cases were run against Apache Kafka {kafka} (one node), to know
what a case asks for; a case that fails there too is no reproach to Ottla.

| suite | passed | run | left out | Apache Kafka |
|---|--:|--:|--:|--:|
"""


def write() -> None:
    """Write the page; without a record of Ottla there is none."""
    PATH.write_text(text())


def text() -> str:
    """Return the page."""
    ours, theirs = record.read(record.path("ottla")), record.read(record.path("kafka"))
    expected = {name: expectations.read(name) for name in ("ottla", "kafka")}
    empty = Record(version="unknown", date="", results=())
    ours, theirs = ours or empty, theirs or empty
    lines = [_HEAD.format(version=ours.version, date=ours.date, kafka=theirs.version)]
    details = []
    for suite in SUITES.values():
        score = Score.of(suite, ours.results, expected["ottla"])
        reference = Score.of(suite, theirs.results, expected["kafka"])
        there = f"{len(reference.passed)} of {reference.run}" if reference.run else "-"
        if score.not_run or not score.run:
            why = score.not_run or "no run was recorded"
            lines.append(f"| {suite.title} | not run: {_cell(why)} | | | {there} |\n")
            continue
        lines.append(
            f"| {suite.title} | {len(score.passed)} | {score.run} | {len(score.left_out)} "
            f"| {there} |\n"
        )
        details.append(_details(suite, score, ours, theirs))
    return "".join(lines) + "".join(details)


def _details(suite: Suite, score: Score, ours: Record, theirs: Record) -> str:
    """The cases of a suite: what does not pass with its reason, and what passes."""
    there = {each.case: each for each in theirs.results if each.suite == suite.name}
    lines = [f"\n## {suite.title}\n\n`python -m compat --only {suite.name}`\n"]
    failed = {each.case: reason for each, reason in score.excused}
    rows = [
        each
        for each in ours.results
        if each.suite == suite.name and each.outcome not in (Outcome.PASSED, Outcome.LEFT_OUT)
    ]
    if rows:
        lines.append("\n| does not pass | here | Apache Kafka | why |\n|---|---|---|---|\n")
    for each in rows:
        other = there[each.case].outcome if each.case in there else "-"
        why = failed.get(each.case) or f"a fault of Ottla's: {each.detail}"
        lines.append(f"| {_cell(each.case)} | {each.outcome} | {other} | {_cell(why)} |\n")
    if score.left_out:
        lines.append("\n| left out | why |\n|---|---|\n")
        for reason in dict.fromkeys(each.detail for each in score.left_out):
            cases = ", ".join(_cell(each.case) for each in score.left_out if each.detail == reason)
            lines.append(f"| {cases} | {_cell(reason)} |\n")
    if score.passed:
        lines.append("\nPasses: " + "; ".join(_name(each) for each in score.passed) + ".\n")
    return "".join(lines)


def _name(result: CaseResult) -> str:
    return result.case.replace("_", r"\_") if "::" not in result.case else f"`{result.case}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("_", r"\_").replace("<", "&lt;").replace("\n", " ")
