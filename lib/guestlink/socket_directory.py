"""The socket directory: what guestlink-host makes for each container, and mounts in it.

On the host it is ``RUN/guestlink-host/containers/NAME``, in the container :data:`MOUNT_POINT`. Both sides find the
sockets by the names below; docs/internals.md lists who makes and who reads each of them. The host mounts the token
a second time, as :data:`guestlink.token.TOKEN_PATH`.
"""

from __future__ import annotations

MOUNT_POINT = "/dev/.guestlink"
"""The directory's path in the container."""
LISTENER, GARCON, SFTP = "listener.sock", "garcon.sock", "sftp.sock"
"""Sockets: the host's ContainerListener, garcon's own service, and SFTP (chromeos-garcon.md §6.12)."""
VSH = "vsh-{port}.sock"
"""A vsh's socket, with the port of LaunchVshd in place of ``{port}`` (chromeos-garcon.md §6.1)."""
COMPOSITOR, PULSE = "wayland-0", "pulse"
"""Sockets of the host's, for Wayland and for PulseAudio's protocol."""
NAME, TOKEN = "name", "token"
"""Files: the container's name and its token."""
