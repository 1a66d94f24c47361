"""A whole trading day on this machine, through the real handlers."""
