"""Do what librdkafka's tests ask of ``kafka-topics.sh``: create, alter and delete topics.

The tests pass further options, such as a replication factor, which are taken as given.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

_PATIENCE_S: Final = 30.0


def main() -> int:
    """Carry out one command; whatever the cluster refuses is raised."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap-server", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, default=-1)
    parser.add_argument("--replication-factor", type=int, default=-1)
    parser.add_argument("--config", action="append", default=[])
    for command in ("--create", "--alter", "--delete"):
        parser.add_argument(command, action="store_true")
    asked = parser.parse_args()
    admin = AdminClient({"bootstrap.servers": asked.bootstrap_server})
    if asked.create:
        config = dict(entry.split("=", 1) for entry in asked.config)
        topic = NewTopic(asked.topic, asked.partitions, asked.replication_factor, config=config)
        futures = admin.create_topics([topic])
    elif asked.alter:
        futures = admin.create_partitions([NewPartitions(asked.topic, asked.partitions)])
    else:
        futures = admin.delete_topics([asked.topic])
    futures[asked.topic].result(_PATIENCE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
