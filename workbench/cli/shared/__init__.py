"""What the commands share besides their options: loading a command, reading inputs."""
