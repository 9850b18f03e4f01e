"""vshd: shells and commands in the container for the host."""
