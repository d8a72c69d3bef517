"""The second door: Kafka's wire protocol."""
