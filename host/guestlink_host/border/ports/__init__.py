"""Forwarded ports: what the user has named and what a container listens on, in a process for each container."""
