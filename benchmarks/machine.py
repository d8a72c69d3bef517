"""What can this machine do at best? Memory, loopback, page cache and disk, from Python."""

from __future__ import annotations

import os
import platform
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.report import Figure

MIB = 1 << 20
BATCH_BYTES = 64 << 10


def describe() -> str:
    """Return one line that names the machine and the software."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def limits(directory: Path) -> list[Figure]:
    """Measure the physical limits, on the disk that holds ``directory``."""
    return [
        Figure(name="memory copy", unit="MB/s", rounds=[_memory_copy() for _ in range(3)]),
        Figure(
            name="loopback TCP, one stream", unit="MB/s", rounds=[_loopback() for _ in range(3)]
        ),
        Figure(
            name="write() of 64 KiB to the page cache",
            unit="MB/s",
            rounds=[page_cache_write(directory) for _ in range(3)],
        ),
        Figure(
            name="write() of 64 KiB + fdatasync()",
            unit="ms (median)",
            rounds=[_synced_write(directory) for _ in range(3)],
            lower_is_better=True,
        ),
    ]


def _memory_copy() -> float:
    source = bytes(64 * MIB)
    target = bytearray(64 * MIB)
    started = time.perf_counter()
    for _ in range(8):
        target[:] = source
    return 8 * 64 * MIB / (time.perf_counter() - started) / 1e6


def _loopback(total_bytes: int = 512 * MIB) -> float:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            with socket.create_connection(server.getsockname()) as out:
                chunk = bytes(MIB)
                for _ in range(total_bytes // MIB):
                    out.sendall(chunk)

        sender = threading.Thread(target=send)
        sender.start()
        received = 0
        buffer = bytearray(MIB)
        connection, _ = server.accept()
        started = time.perf_counter()
        with connection:
            while count := connection.recv_into(buffer):
                received += count
        sender.join()
        return received / (time.perf_counter() - started) / 1e6


def page_cache_write(directory: Path, total_bytes: int = 256 * MIB) -> float:
    """MB/s of plain ``write()`` calls of 64 KiB to a new file."""
    chunk = os.urandom(BATCH_BYTES)
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        descriptor = file.fileno()
        started = time.perf_counter()
        for _ in range(total_bytes // BATCH_BYTES):
            os.write(descriptor, chunk)
        return total_bytes / (time.perf_counter() - started) / 1e6


def _synced_write(directory: Path) -> float:
    chunk = os.urandom(BATCH_BYTES)
    taken: list[float] = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(200):
            started = time.perf_counter()
            os.write(file.fileno(), chunk)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - started) * 1e3)
    return statistics.median(taken)
