"""Alpaca behind the ports: nothing else knows its addresses, words or numbers."""
