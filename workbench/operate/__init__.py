"""Looks after a deployed stack from a person's machine: doctor, status, halt, resume, relay."""
