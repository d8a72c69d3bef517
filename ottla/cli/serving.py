"""The life of ``ottla up``: start, say so, wait, stop.

Nothing is said before everything listens. The first SIGINT or SIGTERM stops the broker in
good order, in the middle of its start as well; the second does not wait any longer.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Final

import uvloop

from ottla import __version__
from ottla.broker import Broker
from ottla.cli.failure import CommandError
from ottla.cli.output import print_json, say
from ottla.cli.ports import check_port
from ottla.config.broker_config import BrokerConfig
from ottla.runtime.logging import Format, Severity, configure

FORCED: Final = 130
"""Exit status after a second Ctrl-C: what was not synced is recovered at the next start."""
