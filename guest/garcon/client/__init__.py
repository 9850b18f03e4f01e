"""Short-lived commands of the container. They call the running garcon, and import nothing that is slow to load."""
