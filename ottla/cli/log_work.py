"""The work of ``ottla log dump``: items of :mod:`ottla.storage.dump` as text or JSON.

Findings stand where they were made, so that a reader sees what surrounds them, and are counted in
the last line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, assert_never

from ottla.cli.failure import CommandError
from ottla.cli.output import write_output
from ottla.cli.record_json import encode_fields
from ottla.model.errors import UnsupportedCompressionError
from ottla.record.batch import BatchHeader
from ottla.record.records import Record
from ottla.runtime.posix import PosixFileSystem
from ottla.storage.dump import dump, is_dumpable
from ottla.storage.dump_items import BatchItem, FileItem, Finding, Item, TextLine
from ottla.storage.offset_index import OffsetPosition
from ottla.storage.producer_state import ProducerEntry
from ottla.storage.time_index import TimestampOffset
from ottla.storage.transaction_index import AbortedTransaction

ITEMS_AT_ONCE: Final = 1_000
"""Written with one system call: an index has millions of entries."""

BYTES_SHOWN_MAX: Final = 100
"""Of a key or a value, for people; JSON has all of it."""


def dump_log(path: Path, *, records: bool, as_json: bool) -> int:
    """Print what ``path`` holds; return 1 if something in it is not sound."""
    counts: Counter[type] = Counter()
    record_count = 0
    texts: list[str] = []
    for item in _items(path, records=records):
        counts[type(item)] += 1
        if isinstance(item, BatchItem):
            record_count += item.header.record_count
        texts.append(_as_json(item) if as_json else _as_text(item))
        if len(texts) >= ITEMS_AT_ONCE:
            _write(texts)
            texts.clear()
    if not counts:
        raise CommandError(f"{path} is empty; name a file or a directory of a log")
    summary = {
        "sound": counts[Finding] == 0,
        "findings": counts[Finding],
        "files": counts[FileItem],
        "batches": counts[BatchItem],
        "records": record_count,
    }
    texts.append(_line({"kind": "summary", **summary}) if as_json else _verdict(summary))
    _write(texts)
    return 0 if summary["sound"] else 1


def _verdict(summary: Mapping[str, int]) -> str:
    findings = summary["findings"]
    verdict = f"NOT SOUND, {_count(findings, 'finding')}" if findings else "sound"
    return (
        f"{verdict}: {_count(summary['files'], 'file')}, "
        f"{_count(summary['batches'], 'batch', 'batches')}, "
        f"{_count(summary['records'], 'record')}\n"
    )


def _items(path: Path, *, records: bool) -> Iterator[Item]:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise CommandError(f"{path} is a device or a pipe; name a file or a directory of a log")
        if path.is_file() and not is_dumpable(path.name):
            raise CommandError(
                f"{path} is no file of a log: its name is neither that of a segment or an index "
                "nor that of a checkpoint; name one of those, or a directory of a log"
            )
        yield from dump(path, file_system=PosixFileSystem(), records=records)
    except OSError as error:
        raise CommandError(
            f"cannot read {error.filename or path}: {error.strerror}; name a file or a directory "
            "of a log"
        ) from error


def _write(texts: Sequence[str]) -> None:
    write_output("".join(texts).encode())


# --- Text -------------------------------------------------------------------------------


def _as_text(item: Item) -> str:
    match item:
        case FileItem():
            text = f"{item.path}  {_count(item.size_bytes, 'byte')}"
        case BatchItem():
            records = [f"    {_record_text(record)}" for record in item.records or ()]
            text = "\n".join([f"  {_batch_text(item.position, item.header)}", *records])
        case OffsetPosition():
            text = f"  offset {item.offset} is at position {item.position}"
        case TimestampOffset():
            text = f"  timestamp {item.timestamp_ms} is the largest up to offset {item.offset}"
        case AbortedTransaction() | ProducerEntry():
            fields = item._asdict().items()
            text = "  " + ", ".join(f"{name} {value}" for name, value in fields)
        case TextLine():
            text = f"  {_printable(item.text)}"
        case Finding():
            text = f"  NOT SOUND: {item}"
        case _:
            assert_never(item)
    return f"{text}\n"


def _batch_text(position: int, header: BatchHeader) -> str:
    words = [
        f"offsets {header.base_offset}..{header.last_offset}",
        f"position {position}",
        f"{header.size_bytes} bytes",
        _count(header.record_count, "record"),
        f"codec {_codec(header)}",
        f"leader epoch {header.partition_leader_epoch}",
        f"largest timestamp {header.max_timestamp}",
    ]
    if header.has_producer:
        words.append(
            f"producer {header.producer_id} epoch {header.producer_epoch} "
            f"sequence {header.base_sequence}"
        )
    words += ["transactional"] * header.is_transactional + ["control"] * header.is_control
    return ", ".join(words)


def _record_text(record: Record) -> str:
    headers = "".join(f" {name}={_shown(value)}" for name, value in record.headers)
    return (
        f"offset {record.offset} timestamp {record.timestamp_ms} key {_shown(record.key)} "
        f"value {_shown(record.value)}{f' headers{headers}' if headers else ''}"
    )


def _shown(content: bytes | None) -> str:
    if content is None:
        return "null"
    cut = content[:BYTES_SHOWN_MAX].decode(errors="backslashreplace")
    more = f"... ({len(content)} bytes)" if len(content) > BYTES_SHOWN_MAX else ""
    return f'"{_printable(cut)}"{more}'


def _printable(text: str) -> str:
    """Leave no character that moves a terminal's cursor or changes its colours."""
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


# --- JSON -------------------------------------------------------------------------------


def _as_json(item: Item) -> str:
    match item:
        case FileItem():
            document = {"kind": "file", "path": str(item.path), "size_bytes": item.size_bytes}
        case BatchItem():
            return _batch_json(item)
        case OffsetPosition():
            document = {"kind": "offset_position", **item._asdict()}
        case TimestampOffset():
            document = {"kind": "timestamp_offset", **item._asdict()}
        case AbortedTransaction():
            document = {"kind": "aborted_transaction", **item._asdict()}
        case ProducerEntry():
            document = {"kind": "producer", **item._asdict()}
        case TextLine():
            document = {"kind": "line", "number": item.number, "text": item.text}
        case Finding():
            document = {
                "kind": "finding",
                "path": str(item.path),
                "position": item.position,
                "message": item.message,
            }
        case _:
            assert_never(item)
    return _line(document)


def _batch_json(item: BatchItem) -> str:
    header = item.header
    document: dict[str, object] = {
        "kind": "batch",
        "position": item.position,
        "size_bytes": header.size_bytes,
        **header._asdict(),
        "last_offset": header.last_offset,
        "codec": _codec(header),
        "transactional": header.is_transactional,
        "control": header.is_control,
    }
    if item.records is not None:
        document["records"] = [
            {"offset": each.offset, "timestamp_ms": each.timestamp_ms}
            | encode_fields(each.key, each.value, each.headers)
            for each in item.records
        ]
    return _line(document)


def _codec(header: BatchHeader) -> str:
    try:
        return header.codec.name.lower()
    except UnsupportedCompressionError:
        return "unknown"


def _line(document: Mapping[str, object]) -> str:
    return json.dumps(document, ensure_ascii=False) + "\n"
