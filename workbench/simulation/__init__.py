"""Seeded days around the real handlers: fakes at the boundary alone, one thread, virtual time."""
