"""pysyncobj's Raft, loaded once more under globals of our own.

``pysyncobj.syncobj`` reads the clock, makes journals and calls pickle through names of its
module. A second instance of that module, private to this package, has other things under
these names, and the one that anybody may import is left alone:

============== =========================================================================
``monotonicTime`` the clock of the engine that is running, see :func:`running_by`
``createJournal`` takes the journal we hand it
``pickle``        refuses: nothing is ever pickled or unpickled
``Serializer``    makes nothing: :mod:`ottla.controller.raft.snapshots` does that work
============== =========================================================================

The version is pinned, because :mod:`ottla.controller.raft.hardened` overrides private
methods; a test compares the file's checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final, NoReturn

from pysyncobj.version import VERSION

from ottla.runtime.clock import Clock

PINNED_VERSION: Final = "0.3.17"

_clock: ContextVar[Clock] = ContextVar("clock of the engine that is running")


class RefusedError(AssertionError):
    """pysyncobj reached for something that our engine never uses: a bug of ours."""


class _Refuser:
    """Stands where a module or class was, and raises at any use."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        raise RefusedError(f"{self._name}.{attribute} is not used by this engine")

    def __call__(self, *_arguments: object) -> NoReturn:
        raise RefusedError(f"{self._name} is not used by this engine")


def _nothing(*_arguments: object) -> None:
    """Make nothing."""


def _given_journal(journal: object) -> object:
    assert journal is not None, "the engine always has a journal of ours"
    return journal


def _now_seconds() -> float:
    return _clock.get().now_ms() / 1000


@contextmanager
def running_by(clock: Clock) -> Iterator[None]:
    """Let pysyncobj's code see this clock, in this thread, during the block."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(token)


def load_private_copy() -> ModuleType:
    """Execute ``pysyncobj.syncobj`` again and return the new module."""
    spec = find_spec("pysyncobj.syncobj")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _load_hardened() -> ModuleType:
    assert VERSION == PINNED_VERSION, f"pysyncobj {VERSION} is installed, not {PINNED_VERSION}"
    module = load_private_copy()
    replacements = {
        "monotonicTime": _now_seconds,
        "createJournal": _given_journal,
        "pickle": _Refuser("pickle"),
        "Serializer": _nothing,
    }
    for name, replacement in replacements.items():
        assert hasattr(module, name), name
        setattr(module, name, replacement)
    return module


_module = _load_hardened()
SyncObj: Any = _module.SyncObj
"""pysyncobj's Raft node. Has no types."""
