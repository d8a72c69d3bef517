"""A process that keeps what it freed does not pay for the same pages again and again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS_OF_A_HUNDRED_BUFFERS = """
import resource
from ottla.runtime.memory import keep_freed_memory
assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytes(bytearray(4 << 20))
before = faults()
for _ in range(100):
    bytes(bytearray(4 << 20))
print(faults() - before)
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="is about glibc")
def test_a_buffer_that_was_freed_is_used_again_without_page_faults() -> None:
    output = subprocess.run(
        [sys.executable, "-c", FAULTS_OF_A_HUNDRED_BUFFERS],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    pages = 100 * 2 * (4 << 20) // 4096
    assert int(output) < pages / 100
