"""``vsh``: shells and commands in containers."""
