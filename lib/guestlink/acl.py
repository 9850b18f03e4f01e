"""Access control lists: which users besides a file's owner may use it (acl(5)).

Linux stores the list in an extended attribute that the owner may write; no library and no privilege is needed. User
ids are those of the caller's user namespace, so a host can list users of an id-mapped container.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Collection
from typing import NamedTuple, TypeAlias

from guestlink.errors import GuestlinkError, reason

_Path: TypeAlias = "str | os.PathLike[str]"
_ATTRIBUTE = "system.posix_acl_access"
_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
"""The id of entries without a named user or group (linux/posix_acl.h, linux/posix_acl_xattr.h)."""

READ, WRITE, ENTER = 4, 2, 1


class _Base(NamedTuple):
    """Permissions of a file's owner, its group and everybody else."""

    owner: int
    group: int
    others: int

    @property
    def mode(self) -> int:
        return self.owner << 6 | self.group << 3 | self.others


def grant(path: _Path, uids: Collection[int], permissions: int) -> None:
    """Replace the file's named-user ACL entries with ``uids``; empty removes the ACL.

    :param path: not a symbolic link; the caller owns it.
    :param permissions: a sum of :data:`READ`, :data:`WRITE` and :data:`ENTER`, the same for all users.
    :raises GuestlinkError: the file system has no access control lists, or refuses the change.
    """
    try:
        old = _read(path)
        base = _base(path, old)
        if not uids:
            if old is not None:
                os.removexattr(path, _ATTRIBUTE, follow_symlinks=False)
                os.chmod(path, base.mode)
            return
        entries = [(_USER_OBJ, base.owner, _NOBODY)]
        entries += [(_USER, permissions, uid) for uid in sorted(uids)]
        entries += [(_GROUP_OBJ, base.group, _NOBODY), (_MASK, permissions | base.group, _NOBODY)]
        entries += [(_OTHER, base.others, _NOBODY)]
        content = _VERSION + b"".join(_ENTRY.pack(*entry) for entry in entries)
        if content != old:
            os.setxattr(path, _ATTRIBUTE, content, follow_symlinks=False)
    except OSError as error:
        raise GuestlinkError(
            f"{path} cannot be opened to the container: {reason(error)}",
            hint="its file system must keep access control lists (acl(5)); tmpfs and ext4 do",
        ) from error


def is_listed(path: _Path) -> bool:
    """Whether a file has an ACL. The group bits of its mode are then the most that the ACL may grant."""
    return _read(path) is not None


def _base(path: _Path, content: bytes | None) -> _Base:
    mode = os.lstat(path).st_mode
    found = {_USER_OBJ: mode >> 6 & 7, _GROUP_OBJ: mode >> 3 & 7, _OTHER: mode & 7}
    if content is not None:
        found |= {tag: given for tag, given, _ in _ENTRY.iter_unpack(content[len(_VERSION) :]) if tag in found}
    return _Base(found[_USER_OBJ], found[_GROUP_OBJ], found[_OTHER])


def _read(path: _Path) -> bytes | None:
    try:
        return os.getxattr(path, _ATTRIBUTE, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise
