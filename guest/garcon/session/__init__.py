"""The user's session: its bus, its manager, and the programs that start in it."""
