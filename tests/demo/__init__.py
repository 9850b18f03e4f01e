"""The demonstration: ``./dev demo``."""
