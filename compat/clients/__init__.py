"""Scenarios: what an application does with one client, in that client's own language.

Each is a program that takes the bootstrap address and prints one line for each step: ``ok NAME``,
``ok NAME # SKIP why``, or ``not ok NAME: why``.
"""
