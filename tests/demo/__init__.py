"""The demonstration, started by ``./dev demo``."""
