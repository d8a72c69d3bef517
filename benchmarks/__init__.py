"""Benchmarks: one question a file, answered with the machine's limits beside it."""
