"""Scalper: a pure state machine for each symbol (`core`) and the effects around it (`shell`)."""
