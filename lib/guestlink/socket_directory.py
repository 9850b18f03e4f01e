"""The socket directory: what guestlink-host makes for each container, and mounts read-only in it.

On the host it is ``RUN/guestlink-host/containers/NAME``, in the container :data:`MOUNT_POINT`. Both sides find the
sockets by the names below. The host makes and serves all of them, because it reads nothing by path that a container
may write; docs/internals.md lists who uses each. The host mounts the token a second time, as
:data:`guestlink.token.TOKEN_PATH`.
"""

from __future__ import annotations

MOUNT_POINT = "/dev/.guestlink"
"""The directory's path in the container."""
LISTENER, CALLS, SFTP, PORTS = "listener.sock", "calls.sock", "sftp.sock", "ports.sock"
"""Sockets: the host's ContainerListener; and where garcon parks connections, on which the host calls the Garcon
service, uses SFTP (chromeos-garcon.md §6.12) and asks for sockets (:mod:`guestlink.port_channel`)."""
OLD_GARCON = "garcon.sock"
"""A socket of the host's where older garcons listened. Such a garcon first connects to it, to see whether the path
is free; so the host notices that it is old."""
VSH = "vsh-{port}.sock"
"""A vsh's socket, with the port of LaunchVshd in place of ``{port}`` (chromeos-garcon.md §6.1)."""
COMPOSITOR, PULSE = "wayland-0", "pulse"
"""Sockets of the host's, for Wayland and for PulseAudio's protocol."""
NAME, TOKEN = "name", "token"
"""Files: the container's name and its token."""
