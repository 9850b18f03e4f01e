"""The commands of ``guestlink-host`` and the control calls by which they reach the daemon.

:mod:`guestlink_host.control.table` lists all of them. Each family of commands has a module with both sides: the
functions of the command line, which import nothing slow, and the daemon's functions, which serve the calls.
"""
