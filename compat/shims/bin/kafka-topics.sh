#!/bin/sh
# Stands in for Kafka's own script where librdkafka's tests call it.
exec "$OTTLA_COMPAT_PYTHON" "$(dirname "$0")/../kafka_topics.py" "$@"
