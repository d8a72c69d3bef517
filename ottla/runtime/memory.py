"""What happens to memory that was freed.

A request or a response of a busy broker is one buffer of a few hundred kilobytes to some megabytes,
and lives for a moment. The C library of Linux (glibc) gives such a buffer back to the kernel at
once, and the next one begins with a page fault for every 4 KiB: the same pages are unmapped,
cleared and mapped again. Keeping them takes the kernel's share of a fetch of 300 MB from 0.6 s to
0.2 s of processor time; producing gains less.

Other C libraries do as they like; nothing happens there.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

from ottla.model.limits import REQUEST_BYTES_MAX

KEPT_BYTES_MAX: Final = 64 << 20
"""Freed memory beyond this goes back to the kernel: room for the messages of a few busy streams."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_freed_memory() -> bool:
    """Have this process keep up to 64 MiB of what it frees for what it needs next.

    Returns whether the C library took the advice. Call it before the process is busy.
    """
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # A message is mapped alone, and unmapped when it is freed, from the second value on.
    return bool(
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX)
        and mallopt(_M_MMAP_THRESHOLD, 2 * REQUEST_BYTES_MAX)
    )
