"""The clients for programs without an event loop: same names, same settings, same promises.

    with Producer("127.0.0.1:7092") as producer:
        for line in lines:
            producer.send("web", line)

    with Consumer("web", auto_offset_reset="earliest") as consumer:
        for record in consumer:
            print(record.value)

The work is done by the asyncio clients, on an event loop in a thread that all blocking clients
of the process share. A client starts when it is first used (``start`` does it at once), and is to
be stopped. Ctrl-C interrupts any wait and leaves the client usable.
"""

from __future__ import annotations

from ottla.client.blocking_admin import Admin
from ottla.client.blocking_consumer import Consumer, RebalanceListener
from ottla.client.blocking_producer import DeliveryHandle, Producer

__all__ = ["Admin", "Consumer", "DeliveryHandle", "Producer", "RebalanceListener"]
