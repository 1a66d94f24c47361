"""Seeded days in virtual time, in one thread, around the real handlers: only the ports are fakes."""
