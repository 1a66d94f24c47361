"""Servers on loopback, and the processes that they run in."""
