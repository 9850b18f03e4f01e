"""A client's connection without I/O: wire format, tables of the protocols, objects, hooks and the relay."""
