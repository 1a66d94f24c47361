"""What runs on a person's machine and is never deployed: exchange, local day, reports, command."""
