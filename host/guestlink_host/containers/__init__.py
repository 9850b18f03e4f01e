"""The containers: the registry, each one's state and service, and the connection to its garcon."""
