"""The host: finding it, registering with it, calling it, and the servers that it connects to."""
