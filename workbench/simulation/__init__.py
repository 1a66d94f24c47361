"""Seeded days in virtual time around the real handlers: one thread, and only the ports are fakes."""
