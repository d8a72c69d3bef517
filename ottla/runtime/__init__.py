"""Ports to the world (files, clocks, tasks) and their production ends."""
