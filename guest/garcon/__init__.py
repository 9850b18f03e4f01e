"""garcon: the container's session daemon, and the short-lived commands that call it."""
