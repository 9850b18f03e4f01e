"""What garcon answers about packages, and guestlink-host recognises."""

NO_PACKAGEKIT = "PackageKit is not installed in the container"
"""The reason for which no package can be described, installed or removed; the host then offers another way."""
