"""Generate ``ottla/wire/messages`` from the schema that kio carries, or check that it is fresh.

kio has one class for each version of each message, generated from Kafka's own definitions. Here
they are folded into one class a message with the union of the fields; how they differ becomes
the table from which ``ottla.wire.codec`` compiles. kio itself is needed only here and in tests
(docs/decisions/0009-kio-is-a-source-not-a-dependency.md).

Two names differ from kio's: times end in ``_ms`` as in Kafka's definitions, and structures of the
same name in a request and its response are prefixed by ``Request`` and ``Response``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import types
import typing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from kio.index import load_payload_module  # noqa: F401
