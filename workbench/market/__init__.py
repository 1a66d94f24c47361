"""Minute bars: the market that they make, and how orders fill on them."""
