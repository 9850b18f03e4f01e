"""What guards the host: URLs and files that a container opens, the session's sockets, limits."""
