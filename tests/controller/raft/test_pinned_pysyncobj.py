"""The engine knows exactly which pysyncobj it overrides, and reaches none of its unsafe parts."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pysyncobj.journal
import pysyncobj.serializer
import pysyncobj.syncobj as stock_module
import pytest
from pysyncobj.version import VERSION

import ottla.controller.raft
from ottla.controller.raft import stock
from ottla.controller.raft.hardened import HardenedSyncObj
from ottla.controller.raft.stock import PINNED_VERSION, RefusedError
from tests.controller.raft.cluster import Cluster

SYNCOBJ_SHA256 = "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4"
OVERRIDDEN = {
    "_SyncObj__applyLogEntries",
    "_SyncObj__doApplyCommand",
    "_SyncObj__generateRaftTimeout",
    "_SyncObj__loadDumpFile",
    "_SyncObj__onMessageReceived",
    "_SyncObj__onReadonlyNodeDisconnected",
    "_SyncObj__sendAppendEntries",
    "_SyncObj__tryLogCompaction",
    "_applyCommand",
    "_checkCommandsToApply",
}
OUR_FILES = sorted(Path(inspect.getfile(ottla.controller.raft)).parent.glob("*.py"))


def stock_source() -> str:
    return Path(inspect.getfile(stock_module)).read_text()


def test_version_is_the_pinned_one() -> None:
    assert VERSION == PINNED_VERSION == "0.3.17"


def test_source_is_the_one_that_was_reviewed() -> None:
    assert hashlib.sha256(stock_source().encode()).hexdigest() == SYNCOBJ_SHA256


def test_list_of_overrides_is_complete() -> None:
    of_pysyncobj = set(dir(stock_module.SyncObj))
    overridden = {name for name in vars(HardenedSyncObj) if name in of_pysyncobj}

    assert {name for name in overridden if not name.startswith("__")} == OVERRIDDEN


@pytest.mark.parametrize("name", sorted(OVERRIDDEN))
def test_overridden_method_exists_and_is_called_by_pysyncobj(name: str) -> None:
    written = name.replace("_SyncObj", "")
    calls = re.findall(rf"self\.{written}\b", stock_source())

    assert callable(getattr(stock_module.SyncObj, name))
    assert calls


@pytest.mark.parametrize(
    "name",
    sorted(set(re.findall(r"_SyncObj__\w+", "".join(path.read_text() for path in OUR_FILES)))),
)
def test_private_name_that_we_use_is_one_of_pysyncobj(name: str) -> None:
    assert f"__{name.removeprefix('_SyncObj__')}" in stock_source()


# --- Pickle -------------------------------------------------------------------------------


def test_pickle_of_the_private_copy_refuses() -> None:
    for function in ("loads", "dumps", "load", "dump"):
        with pytest.raises(RefusedError, match="pickle"):
            getattr(stock._module.pickle, function)(b"")


def test_nothing_of_ours_imports_pickle() -> None:
    for path in OUR_FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            imported = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [node.module or "", *(alias.name for alias in node.names)]
            assert not any("pickle" in name or "marshal" in name for name in imported), path


def test_whole_life_of_a_cluster_never_pickles() -> None:
    """In a process where every pickle function raises, from before the engine is loaded."""
    program = """
import pickle, _pickle
def poison(*arguments, **options):
    raise SystemExit("pickled")
for module in (pickle, _pickle):
    for name in ("loads", "dumps", "load", "dump", "Pickler", "Unpickler"):
        setattr(module, name, poison)
from tests.controller.raft.fuzz import HardenedSubject, Life
Life(HardenedSubject(3, seed=1), seed=1).run(steps=600)
print("done")
"""
    root = Path(inspect.getfile(ottla)).parent.parent
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )

    assert (finished.stdout, finished.stderr) == ("done\n", "")


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda node: node.setCodeVersion(0), "pickle"),
        (lambda node: node._applyCommand(b"x", None, 0), "appended by the engine"),
        (lambda node: node._SyncObj__onMessageReceived(None, {}), "handled by our rules"),
        (lambda node: node._SyncObj__doApplyCommand(b"\x00"), "applied by our loop"),
        (lambda node: node._SyncObj__loadDumpFile(clearJournal=True), "loaded by our store"),
        (lambda node: node._SyncObj__transport.send(None, {"type": "apply_command"}), "sends"),
    ],
)
def test_ways_of_pysyncobj_that_we_do_not_use_are_closed(
    call: Callable[[HardenedSyncObj], object], reason: str
) -> None:
    node = Cluster(1).elect(1)._node

    with pytest.raises(RefusedError, match=reason):
        call(node)


# --- The package that others may import ----------------------------------------------------------


def test_stock_pysyncobj_is_left_as_it_was() -> None:
    assert stock_module.SyncObj is not stock.SyncObj
    assert not issubclass(HardenedSyncObj, stock_module.SyncObj)
    assert stock_module.createJournal is pysyncobj.journal.createJournal
    assert stock_module.Serializer is pysyncobj.serializer.Serializer
    assert not isinstance(stock_module.pickle, stock._Refuser)


def test_engine_opens_no_file_descriptor_and_starts_no_thread() -> None:
    program = """
import os, threading
from tests.controller.raft.cluster import Cluster
Cluster(1).elect(1)
before = set(os.listdir("/proc/self/fd"))
cluster = Cluster(3)
cluster.elect(1)
print(set(os.listdir("/proc/self/fd")) - before, threading.active_count())
"""
    root = Path(inspect.getfile(ottla)).parent.parent
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )

    assert finished.stdout == "set() 1\n"
