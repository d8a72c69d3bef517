"""Ottla: a replicated commit log for streams of events."""

__version__ = "0.1.0"
