"""Real brokers for tests, demonstrations and benchmarks."""
