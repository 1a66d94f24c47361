"""Adapters to AWS: tables, queues, the mail topic and secrets."""
