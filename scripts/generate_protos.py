"""Generate ``ottla/v1`` from ``proto/ottla/v1``, or check that it is fresh.

The path of a ``.proto`` file mirrors the import path of the code made from it, so
that the generated modules import one another without rewriting.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "proto"
GENERATED = ROOT / "ottla" / "v1"


def main() -> int:
    """Write the generated package, or with ``--check`` compare it; 1 if it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare and change nothing")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory) / "ottla" / "v1"
        _generate(Path(directory))
        if check:
            return _compare(fresh)
        for stale in GENERATED.glob("*_pb2*"):
            stale.unlink()
        GENERATED.mkdir(exist_ok=True)
        for path in fresh.iterdir():
            shutil.copy(path, GENERATED / path.name)
    return 0


def _generate(target: Path) -> None:
    protos = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    plugin_path = Path(sys.executable).parent
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{SOURCES}",
            f"--plugin=protoc-gen-mypy_grpc={plugin_path / 'protoc-gen-mypy_grpc'}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_grpc_out={target}",
            *protos,
        ],
        check=True,
    )


def _compare(fresh: Path) -> int:
    expected = {path.name for path in fresh.iterdir()}
    present = {path.name for path in GENERATED.glob("*_pb2*")}
    _, different, _ = filecmp.cmpfiles(fresh, GENERATED, expected & present, shallow=False)
    stale = sorted(different) + sorted(expected ^ present)
    if stale:
        print(f"stale in ottla/v1: {', '.join(stale)}; run `make proto`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
