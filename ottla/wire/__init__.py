"""Kafka's protocol without a socket: messages, their codec, headers and frames."""
