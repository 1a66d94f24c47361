"""What the commands share besides their options: loading, reading inputs, the reference."""
