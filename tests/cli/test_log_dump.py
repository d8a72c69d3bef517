"""``ottla log dump`` shows what is in a log's files, and its status says whether they are sound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ottla.cli.main import run
from ottla.record.builder import BatchBuilder

CaptureFixture = pytest.CaptureFixture[str]

SEGMENT = "00000000000000000000.log"


def batch_of(*values: bytes) -> bytes:
    builder = BatchBuilder()
    for number, value in enumerate(values):
        builder.append(key=b"k", value=value, headers=(("h", b"1"),), timestamp_ms=1_000 + number)
    return builder.build()


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "web-0" / SEGMENT
    path.parent.mkdir()
    path.write_bytes(batch_of(b"first", b"\x1b[31m\xff"))
    return path


def lines(capfd: CaptureFixture) -> list[str]:
    return capfd.readouterr().out.splitlines()


def test_sound_segment_is_status_0(capfd: CaptureFixture, segment: Path) -> None:
    assert run(["log", "dump", str(segment)]) == 0

    shown = lines(capfd)
    assert shown[0].startswith(str(segment))
    assert shown[1].startswith("  offsets 0..1, position 0, ")
    assert shown[-1] == "sound: 1 file, 1 batch, 2 records"


def test_records_are_shown_when_asked_for(capfd: CaptureFixture, segment: Path) -> None:
    run(["log", "dump", str(segment), "--records"])

    assert '    offset 0 timestamp 1000 key "k" value "first" headers h="1"' in lines(capfd)


def test_nothing_in_a_record_reaches_the_terminal_as_a_command(
    capfd: CaptureFixture, segment: Path
) -> None:
    run(["log", "dump", str(segment), "--records"])

    assert r'value "\u001b[31m\xff"' in lines(capfd)[3]


def test_long_value_is_cut_for_people(capfd: CaptureFixture, segment: Path) -> None:
    segment.write_bytes(batch_of(b"x" * 1_000))

    run(["log", "dump", str(segment), "--records"])

    assert lines(capfd)[2].count("x") == 100


def test_unsound_segment_is_status_1_and_says_where(capfd: CaptureFixture, segment: Path) -> None:
    size = segment.stat().st_size
    segment.write_bytes(segment.read_bytes() + b"torn")

    assert run(["log", "dump", str(segment)]) == 1

    shown = lines(capfd)
    assert any("NOT SOUND:" in line and f"at position {size}" in line for line in shown)
    assert shown[-1].startswith("NOT SOUND, ")


def test_directory_is_dumped_file_by_file(capfd: CaptureFixture, segment: Path) -> None:
    (segment.parent / "leader-epoch-checkpoint").write_text("0\n1\n0 0\n")

    assert run(["log", "dump", str(segment.parent.parent)]) == 0

    assert lines(capfd)[-1] == "sound: 2 files, 1 batch, 2 records"


def test_json_is_one_object_a_line_with_a_summary_at_the_end(
    capfd: CaptureFixture, segment: Path
) -> None:
    run(["log", "dump", str(segment), "--records", "--json"])

    file, batch, summary = map(json.loads, lines(capfd))
    assert (file["kind"], file["path"]) == ("file", str(segment))
    assert (batch["kind"], batch["record_count"], batch["codec"]) == ("batch", 2, "none")
    assert batch["records"][1]["value_base64"] == "G1szMW3/"
    assert summary == {
        "kind": "summary", "sound": True, "findings": 0, "files": 1, "batches": 1, "records": 2,
    }  # fmt: skip


def test_finding_is_an_object_of_its_own(capfd: CaptureFixture, segment: Path) -> None:
    segment.write_bytes(b"torn")

    assert run(["log", "dump", str(segment), "--json"]) == 1

    findings = [each for each in map(json.loads, lines(capfd)) if each["kind"] == "finding"]
    assert findings[0]["position"] == 0
    assert findings[0]["path"] == str(segment)


def test_long_file_is_shown_to_its_end(capfd: CaptureFixture, segment: Path) -> None:
    checkpoint = segment.parent / "leader-epoch-checkpoint"
    checkpoint.write_text("line\n" * 5_000)

    run(["log", "dump", str(checkpoint)])

    assert lines(capfd).count("  line") == 5_000


def test_file_that_is_none_of_a_log_is_refused(capfd: CaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("line\n")

    assert run(["log", "dump", str(tmp_path / "notes")]) == 1

    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"ottla: {tmp_path / 'notes'} is no file of a log")
