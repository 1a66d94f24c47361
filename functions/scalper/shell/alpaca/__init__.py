"""Adapters to Alpaca: no other room knows its addresses, fields and codes."""
