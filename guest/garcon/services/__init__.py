"""Services for the host besides applications."""
