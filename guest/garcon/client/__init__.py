"""Short-lived commands of the container. They ask the running garcon and import nothing that is slow to start."""
