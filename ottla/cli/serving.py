"""The life of ``ottla up``: start, say so, wait, stop.

Nothing is said before everything listens. The first SIGINT or SIGTERM stops the broker in good
order, in the middle of its start as well; the second does not wait any longer. Being told to stop
is how a broker ends, so that is status 0; a broker that ends by itself is status 1.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from typing import Final

import uvloop

from ottla import __version__
from ottla.broker import Broker
from ottla.cli.connection import BOOTSTRAP_DEFAULT
from ottla.cli.failure import CommandError
from ottla.cli.output import print_json, say
from ottla.cli.ports import check_port
from ottla.config.addresses import Address
from ottla.config.broker_config import BrokerConfig
from ottla.model.errors import OttlaError
from ottla.runtime.logging import Format, Severity, configure

FORCED: Final = 130
"""Exit status after a second Ctrl-C: what was not synced is recovered at the next start."""
