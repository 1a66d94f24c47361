"""What a run leaves: its trades, its files and its report."""
