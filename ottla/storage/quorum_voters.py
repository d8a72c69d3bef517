"""Which brokers keep the metadata of the cluster that a data directory belongs to.

A cluster's metadata is what a majority of its voters has on disk. Told of other voters, a broker
may find a majority that never saw that metadata: three brokers of which one brings a cluster along
would agree on being a new cluster, and everything in the old one's logs would be of nobody. So the
voters that a directory began with stand in it, and a broker that is told others does not start.
Their addresses may change; a broker that does not vote remembers them as well.

A directory from before this file was written was a cluster of its own: its broker alone voted.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId
from ottla.runtime.files import FileSystem
from ottla.storage.checkpoints import DamagedCheckpointError, read_meta_properties

VOTERS_FILE: Final = "quorum-voters"
METADATA_DIRECTORY: Final = "metadata"
"""The directory of the metadata log in a data directory."""

_HEADER: Final = "version=1"
_PREFIX: Final = "voters="


class OtherVotersError(StorageError):
    """A directory's cluster has other voters than its broker was told."""


def read_voters(directory: Path, *, file_system: FileSystem) -> frozenset[BrokerId] | None:
    """Return the voters of a data directory's cluster; ``None`` if it does not belong to one yet.

    Raises:
        DamagedCheckpointError: its files do not say it.
    """
    path = directory / VOTERS_FILE
    if file_system.exists(path):
        try:
            return _decode(file_system.read(path))
        except ValueError:
            remedy = "write down the ids of the voters again as they were"
            reason = f"it is not {_HEADER}, {_PREFIX}ID,ID,ID"
            raise DamagedCheckpointError(path, reason, remedy) from None
    if not file_system.exists(directory / METADATA_DIRECTORY):
        return None
    meta = read_meta_properties(file_system, directory)
    return None if meta is None else frozenset({meta.node_id})


def remember_voters(
    directory: Path, voters: frozenset[BrokerId], *, file_system: FileSystem
) -> None:
    """Note the voters in a directory, or compare them with those it has. Waits for the disk.

    Call it with the directory locked, and before its metadata log is opened.

    Raises:
        OtherVotersError: they are others, and to start would risk what the cluster knows.
        DamagedCheckpointError: the directory does not say which they are.
        OSError: they cannot be written down.
    """
    assert voters, "somebody votes"
    known = read_voters(directory, file_system=file_system)
    if known is not None and known != voters:
        raise OtherVotersError(
            f"the metadata of the cluster in {directory} is kept by {as_text(known)}, but this "
            f"broker was told that it is {as_text(voters)}; set controller.quorum.voters to the "
            "same brokers as before, or use another data directory for a new cluster"
        )
    if not file_system.exists(directory / VOTERS_FILE):
        file_system.replace(directory / VOTERS_FILE, _encode(voters))


def as_text(voters: Iterable[BrokerId]) -> str:
    """Return voters as people say them: ``brokers 0, 1 and 2``, ``broker 0 alone``."""
    ids = [str(voter) for voter in sorted(voters)]
    if len(ids) == 1:
        return f"broker {ids[0]} alone"
    return f"brokers {', '.join(ids[:-1])} and {ids[-1]}"


def _encode(voters: Iterable[BrokerId]) -> bytes:
    return f"{_HEADER}\n{_PREFIX}{','.join(map(str, sorted(voters)))}\n".encode()


def _decode(content: bytes) -> frozenset[BrokerId]:
    """Read the file; :exc:`ValueError` if it is damaged."""
    header, line = content.decode().splitlines()
    if header != _HEADER or not line.startswith(_PREFIX):
        raise ValueError(line)
    ids = line.removeprefix(_PREFIX).split(",")
    if not all(each.isascii() and each.isdecimal() for each in ids):
        raise ValueError(line)
    return frozenset(BrokerId(int(each)) for each in ids)
