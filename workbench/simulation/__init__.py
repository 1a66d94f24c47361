"""Seeded days in virtual time and one thread around the real handlers; only the ports are fakes."""
