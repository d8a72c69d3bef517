"""librdkafka at its own speed: a small program in C around it, compiled when it is needed.

A language binding spends more on each record than librdkafka does, so with one the figures would
be the binding's. ``scripts/setup-compat librdkafka`` brings the library (or ``LIBRDKAFKA`` names
a directory with its sources, built); without it, or without a C compiler, there is no figure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
_PROGRAM: Final = _HERE / "librdkafka_speed.c"
_TIMEOUT_S: Final = 180


class NoLibrdkafkaError(Exception):
    """The library or a compiler is missing; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Librdkafka:
    """The program, ready to run."""

    program: Path

    @classmethod
    def build(cls, directory: Path) -> Librdkafka:
        """Compile the program into ``directory``.

        Raises :exc:`NoLibrdkafkaError` if that is not possible here.
        """
        library = (
            Path(os.environ.get("LIBRDKAFKA", _HERE.parent / ".compat" / "librdkafka")) / "src"
        )
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None or not (library / "librdkafka.so.1").exists():
            raise NoLibrdkafkaError(
                f"no figures with librdkafka: there is no {library}/librdkafka.so.1 or no C "
                "compiler; run scripts/setup-compat librdkafka"
            )
        program = directory / "librdkafka_speed"
        subprocess.run(
            [
                compiler, "-O2", "-w", "-o", str(program), str(_PROGRAM),
                "-isystem", str(library), str(library / "librdkafka.so.1"),
                f"-Wl,-rpath,{library}",
            ],
            check=True,
        )  # fmt: skip
        return cls(program)

    def seconds(
        self,
        action: str,
        *,
        address: str,
        topic: str,
        partitions: int,
        records: int,
        record_bytes: int,
        settings: Sequence[str] = (),
    ) -> float:
        """Produce or consume, and return how long it took."""
        arguments = (address, topic, partitions, records, record_bytes)
        ran = subprocess.run(
            [str(self.program), action, *map(str, arguments), *settings],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-2_000:]
        return float(ran.stdout)
