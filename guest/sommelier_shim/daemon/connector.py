"""Connectors: one process per client, which connects to the host on the client's behalf.

A compositor identifies a client by the process that has called connect(2) (SO_PEERCRED, unix(7)), and "kill this
window" kills that process. So each client has a process of its own, a connector, which connects and then lives as
long as its client.

This module is a program. It imports nothing of Guestlink, so that it and its children, the connectors, are small.
Its only argument is the descriptor of a control socket. Each message there has another socket as ancillary data,
the leash of a new connector. The program exits when the control socket is closed.
:mod:`sommelier_shim.daemon.connectors` is the other side.

On the leash, the request ``PID PATH`` asks for a connection to PATH for the client process PID; the answer is four
zero bytes and the connection, or an errno. ``SETTLE`` is the last request: the connector becomes a shell, which
takes a third of the memory, and takes the name of the client process. The name comes that late because it would
make a new connection a fifth slower.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the enums of the module signal would double the memory
import _socket
import gc
import posix
import sys

NO_PROCESS = 1 << 16
"""Added to the errno if fork failed, so that there is no connector."""
ANSWER_SIZE = 4
SETTLE = b"settle"
_SHELL = "/bin/sh"
_SCRIPT = b'printf %s "$1" > /proc/self/comm; read -r end'
_OWN_NAME = b"sommelier-spare"


def main(descriptor: int) -> None:
    """Fork connectors until the control socket is closed."""
    try:
        posix.setsid()  # a terminal's signals for its foreground processes must not reach this one
    except OSError:
        pass
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # connectors leave no zombies
    # The program exits with the proxy, which may need it until then.
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    _name(_OWN_NAME)
    gc.disable()
    gc.freeze()
    control = _socket.socket(fileno=descriptor)
    while True:
        message, ancillary, _, _ = control.recvmsg(1, 64)
        if not message:
            _wait_for_connectors()
            posix._exit(0)
        leash = _socket.socket(fileno=int.from_bytes(ancillary[0][2][:4], sys.byteorder))
        try:
            pid = posix.fork()
        except OSError as error:
            _answer(leash, (error.errno or 0) | NO_PROCESS)
            pid = -1
        if not pid:
            control.close()
            for number in (_signal.SIGINT, _signal.SIGTERM):
                _signal.signal(number, _signal.SIG_DFL)
            _serve(leash)
        leash.close()


def _wait_for_connectors() -> None:
    """Wait for the connectors, which exit with their leashes: a container's init may not reap orphans."""
    try:
        posix.waitpid(-1, 0)  # with SIGCHLD ignored it blocks until the last child has exited, and then fails
    except OSError:
        pass


def _serve(leash: _socket.socket) -> None:
    """Run one connector: answer the requests on its leash."""
    client = b""
    while True:
        message = leash.recv(256)
        if not message:
            posix._exit(0)
        if message == SETTLE:
            _become_shell(leash, _name_of(client))
            continue
        client, _, path = message.partition(b" ")
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        try:
            sock.connect(path)
            _answer(leash, 0, sock)
        except OSError as error:
            _answer(leash, error.errno or 0)
        sock.close()


def _become_shell(leash: _socket.socket, name: bytes) -> None:
    """Replace this process by a shell that waits for the end of the leash, if the shell exists."""
    posix.dup2(leash.fileno(), 0)
    posix.set_inheritable(leash.fileno(), False)
    try:
        posix.execve(_SHELL, [b"sh", b"-c", _SCRIPT, b"sommelier-connector", name], {})
    except OSError:
        _name(name)


def _answer(leash: _socket.socket, number: int, sock: _socket.socket | None = None) -> None:
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, sock.fileno().to_bytes(4, sys.byteorder))] if sock else []
    try:
        leash.sendmsg([number.to_bytes(ANSWER_SIZE, sys.byteorder)], rights, _socket.MSG_NOSIGNAL)
    except OSError:
        posix._exit(0)


def _name_of(pid: bytes) -> bytes:
    try:
        descriptor = posix.open(b"/proc/%b/comm" % pid, posix.O_RDONLY)
    except OSError:
        return _OWN_NAME
    name = posix.read(descriptor, 64)
    posix.close(descriptor)
    return name[:-1]  # a newline


def _name(name: bytes) -> None:
    """Set the process name that ps shows."""
    try:
        descriptor = posix.open("/proc/self/comm", posix.O_WRONLY)
    except OSError:
        return
    posix.write(descriptor, name)
    posix.close(descriptor)


if __name__ == "__main__":
    main(int(sys.argv[1]))
