"""Launchers and icons of containers' applications on the host's desktop."""
