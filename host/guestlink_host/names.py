"""Names and texts that are safe on the host, whatever a container sends. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from guestlink.errors import GuestlinkError

_CONTAINER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_HASHED_ID = re.compile(r"_[0-9a-f]{16}$")
_PLAIN_LENGTH, _HINT_LENGTH = 100, 40
"""Characters of an id that a file name keeps as it is, and before a hash."""

ID_LIMIT = 1024
"""Bytes of a desktop file id: it comes from the names of a file and of the directories above it."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a person cannot see, text direction among them."""
_NEEDED = frozenset("\u200b\u200c\u200d\u200e\u200f\u061c")
"""Joiners, direction marks and Khmer's word ends, without which some scripts are written wrongly; they cannot
reorder other text."""
_SPACES = re.compile(r"\s+")


def check_container_name(name: object) -> str:
    """Return a container's name.

    :raises GuestlinkError: it cannot be one. LXD's and Incus's names pass, and those of LXC and Podman.
    """
    if not isinstance(name, str) or not _CONTAINER.fullmatch(name):
        raise GuestlinkError(
            f"{name!r:.80} cannot be a container's name",
            hint="use up to 63 letters, digits, hyphens, dots and underscores; a letter or digit first and last",
        )
    return name


def is_usable_id(desktop_file_id: str) -> bool:
    """Whether an id can be shown, stored and sent back as it is."""
    return 0 < len(desktop_file_id.encode(errors="replace")) <= ID_LIMIT and all(map(_is_seen, desktop_file_id))


def file_stem(container: str, desktop_file_id: str) -> str:
    """The name, without suffix, of the files that stand for an application.

    ``guestlink-NAME-ID`` where that is safe and no other pair of container and id can have the same; otherwise a
    safe beginning of the id and a hash of both: for ids that are long or odd, and where the container's name has
    a hyphen (``a-b`` with ``c`` would meet ``a`` with ``b-c``).
    """
    plain = _PLAIN_ID.fullmatch(desktop_file_id) and len(desktop_file_id) <= _PLAIN_LENGTH
    if plain and "-" not in container and not _HASHED_ID.search(desktop_file_id):
        return f"guestlink-{container}-{desktop_file_id}"
    digest = hashlib.sha256(f"{container}\0{desktop_file_id}".encode(errors="surrogatepass")).hexdigest()
    limit = _PLAIN_LENGTH if plain else _HINT_LENGTH
    hint = re.sub(r"[^A-Za-z0-9_.+-]+", "_", desktop_file_id)[:limit].lstrip("._+-")
    return f"guestlink-{container}-{hint}_{digest[:16]}"


def visible_line(text: str, limit: int) -> str:
    """One line of text that a person sees as it is, without control characters and tricks with text direction.

    :param limit: characters that are kept.
    """
    spaced = _SPACES.sub(_one_space, text[: limit * 4])
    seen = spaced if spaced.isprintable() else "".join(filter(_is_seen, spaced))
    line = _SPACES.sub(_one_space, seen.strip())[:limit].strip()
    return line if any(c not in _NEEDED and not c.isspace() for c in line) else ""


def _is_seen(character: str) -> bool:
    return character in _NEEDED or unicodedata.category(character) not in _INVISIBLE


def _one_space(run: re.Match[str]) -> str:
    """The first of several spaces: at some, which Polish and French have, a line must not end."""
    return run[0][0] if unicodedata.category(run[0][0]) == "Zs" else " "
