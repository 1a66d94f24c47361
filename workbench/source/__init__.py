"""Reads what the project's own source says, for pages and for commands."""
