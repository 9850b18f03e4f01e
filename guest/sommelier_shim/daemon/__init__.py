"""The process: event loop, sessions with their queues, connections to the host, status and child processes."""
