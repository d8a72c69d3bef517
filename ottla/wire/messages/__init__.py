"""Kafka's messages, one module an API, imported when needed."""
