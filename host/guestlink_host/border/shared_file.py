"""Opens a file below a shared folder, whose content a container may change at any time.

Each step of the path is opened by the descriptor of the folder before it, and the kernel follows no link. So no
exchange of a file or a folder for a link leads out of the shared folder.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from guestlink.errors import reason
from guestlink_host.border.document_types import is_document
from guestlink_host.border.url_policy import NOT_SHARED, Share, UrlRefused

_LINKS = 40
"""Links in one path, as in Linux (path_resolution(7))."""
_DEPTH = 64
"""Folders between the shared folder and a file: each uses a descriptor for a moment."""
_LEADS_OUT = "on the host: a link leads out of the shared folder"


class SharedFile(NamedTuple):
    """A file or folder that a container shares.

    :ivar descriptor: refers to it, whatever its path leads to later; only for fstat and reading.
    :ivar path: its path without links below the shared folder.
    """

    descriptor: int
    path: str
    size: int
    is_folder: bool


@contextlib.contextmanager
def open_shared(path: str, shares: Iterable[Share]) -> Iterator[SharedFile]:
    """Open a document or a folder for as long as the context lasts.

    :param path: a path of the host.
    :raises UrlRefused: it is missing, outside the shared folders, or neither a document nor a folder.
    """
    # A folder that lies in another shared folder may be exchanged, too; so the walk begins at the outer one.
    folders = [
        share.host for share in shares if path == share.host or path.startswith(f"{share.host.rstrip('/')}/")
    ]
    if not folders:
        raise UrlRefused(NOT_SHARED, hint=_LEADS_OUT)
    folder = min(folders, key=len).rstrip("/")
    try:
        descriptor, names = _walk(folder, path[len(folder) :])
    except (OSError, ValueError) as error:
        raise UrlRefused("there is no such file on the host", hint="check the path") from error
    try:
        status = os.fstat(descriptor)
        found = "/".join([folder, *names]) or "/"
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder:
            check_document(os.path.basename(found), status.st_mode)
        yield SharedFile(descriptor, found, status.st_size, is_folder)
    finally:
        os.close(descriptor)


def check_document(name: str, mode: int) -> None:
    """Check that a file is a document.

    :raises UrlRefused: it is a program, a web page, a device, or of an unknown type.
    """
    if not stat.S_ISREG(mode) or mode & 0o111 or not is_document(name):
        raise UrlRefused(
            "the host opens documents and folders, not programs, web pages, and files of other types",
            hint="open the folder; its user can open the file there",
        )


def read_shared(file: SharedFile) -> int:
    """A descriptor that reads the file.

    :raises UrlRefused: the host's user may not read it.
    """
    try:
        return os.open(f"/proc/self/fd/{file.descriptor}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UrlRefused(
            f"the host cannot read the file: {reason(error)}", hint="on the host, make it readable for its user"
        ) from error


def _walk(folder: str, inside: str) -> tuple[int, list[str]]:
    """Open what a path leads to; returns its descriptor and the names below the folder that lead there.

    :raises OSError: there is no such file.
    :raises UrlRefused: a link leads out of the folder.
    """
    opened = [os.open(folder or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    names: list[str] = []
    waiting = inside.split("/")[::-1]
    links = 0
    try:
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if not names:
                    raise UrlRefused(NOT_SHARED, hint=_LEADS_OUT)
                names.pop()
                os.close(opened.pop())
                continue
            if len(names) >= _DEPTH:
                raise UrlRefused(
                    f"the file lies more than {_DEPTH} folders deep", hint="move it to a folder nearer to the top"
                )
            step = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened[-1])
            opened.append(step)
            names.append(name)
            if stat.S_ISLNK(os.fstat(step).st_mode):
                links += 1
                target = os.readlink("", dir_fd=step)
                if links > _LINKS or target.startswith("/"):
                    raise UrlRefused(NOT_SHARED, hint=_LEADS_OUT)
                names.pop()
                os.close(opened.pop())
                waiting += target.split("/")[::-1]
        return opened.pop(), names
    finally:
        for descriptor in opened:
            os.close(descriptor)
