"""What a run came to: trades, files, and the report."""
