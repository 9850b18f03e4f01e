"""What the container side and the host side share. Imports nothing else of this project."""

__version__ = "0.1.0"
