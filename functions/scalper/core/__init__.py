"""The pure part: the standard library only; no clock, I/O, environment, randomness or logging."""
