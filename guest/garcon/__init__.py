"""garcon: the container's session daemon, and the short-lived commands that speak to it."""
