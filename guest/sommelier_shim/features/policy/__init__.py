"""Policies: which globals clients get, application ids and titles, clipboard directions, and keys for the host."""
