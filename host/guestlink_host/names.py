"""Makes names and texts from containers safe for the host. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TypeGuard

from guestlink.errors import GuestlinkError

_CONTAINER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_HASHED_ID = re.compile(r"_[0-9a-f]{16}$")
_PLAIN_LENGTH, _HINT_LENGTH = 100, 40
"""Characters of an id in a file name: without a hash, and before a hash."""

ID_LIMIT = 1024
"""Bytes of a desktop file id, which consists of the names of a file and of the directories above it."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of invisible characters, among them those that change the text direction."""
_NEEDED = frozenset("\u200b\u200c\u200d\u200e\u200f\u061c")
"""Joiners, direction marks and Khmer's word separator: some scripts need them, and they cannot reorder other
text."""
_SPACES = re.compile(r"\s+")


def is_container_name(name: object) -> TypeGuard[str]:
    """Whether a container can have this name. The names of LXD, Incus, LXC and Podman are valid."""
    return isinstance(name, str) and _CONTAINER.fullmatch(name) is not None


def check_container_name(name: object) -> str:
    """Return a container's name if it is valid.

    :raises GuestlinkError: the name is invalid.
    """
    if not is_container_name(name):
        raise GuestlinkError(
            f"{name!r:.80} cannot be a container's name",
            hint="use up to 63 letters, digits, hyphens, dots and underscores; a letter or digit first and last",
        )
    return name


def is_usable_id(desktop_file_id: str) -> bool:
    """Whether an id can be shown, stored and sent back unchanged."""
    return 0 < len(desktop_file_id.encode(errors="replace")) <= ID_LIMIT and all(map(_is_seen, desktop_file_id))


def file_stem(container: str, desktop_file_id: str) -> str:
    """The name, without suffix, of an application's launcher and icons.

    The name is ``guestlink-NAME-ID`` if that is safe and unique among all containers and ids. Otherwise a safe
    beginning of the id and a hash of container and id replace the id: for long or odd ids, and if the container's
    name has a hyphen (``a-b`` with ``c`` would collide with ``a`` with ``b-c``).
    """
    plain = _PLAIN_ID.fullmatch(desktop_file_id) and len(desktop_file_id) <= _PLAIN_LENGTH
    if plain and "-" not in container and not _HASHED_ID.search(desktop_file_id):
        return f"guestlink-{container}-{desktop_file_id}"
    digest = hashlib.sha256(f"{container}\0{desktop_file_id}".encode(errors="surrogatepass")).hexdigest()
    limit = _PLAIN_LENGTH if plain else _HINT_LENGTH
    hint = re.sub(r"[^A-Za-z0-9_.+-]+", "_", desktop_file_id)[:limit].lstrip("._+-")
    return f"guestlink-{container}-{hint}_{digest[:16]}"


def visible_line(text: str, limit: int) -> str:
    """One line of the text, without control characters and characters that change the text direction.

    :param limit: maximum number of characters.
    """
    spaced = _SPACES.sub(_one_space, text[: limit * 4])
    seen = spaced if spaced.isprintable() else "".join(filter(_is_seen, spaced))
    line = _SPACES.sub(_one_space, seen.strip())[:limit].strip()
    return line if any(c not in _NEEDED and not c.isspace() for c in line) else ""


def _is_seen(character: str) -> bool:
    return character in _NEEDED or unicodedata.category(character) not in _INVISIBLE


def _one_space(run: re.Match[str]) -> str:
    """The first of several spaces, because it may be a no-break space, which Polish and French use."""
    return run[0][0] if unicodedata.category(run[0][0]) == "Zs" else " "
