"""Which URLs of a container the host opens, and as what; paths on both sides. Pure (garcon.md §6.15, §7.6)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from guestlink.errors import GuestlinkError

LENGTH_LIMIT = 8192
"""Characters of a URL; browsers accept about as many."""

_LOCAL_HOST = re.compile(
    r"(?P<head>[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?)(?P<host>localhost|127\.0\.0\.1)(?P<port>:\d{1,5})?(?P<tail>[/?#].*)?",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_PRIVILEGED = 1023
"""Ports above are left alone: they are forwarded one to one where anybody forwards them (garcon.md §7.6)."""


class UrlRefused(GuestlinkError):
    """The host does not open this; the sentence goes to the container."""


class Share(NamedTuple):
    """A folder of the host that a container sees; both are absolute paths."""

    host: str
    inside: str


def translate_url(url: str, *, schemes: Collection[str], ip: str = "", shares: Iterable[Share] = ()) -> str:
    """What the host opens for a URL of a container.

    :param schemes: those that may be opened, in lower case; ``file`` always may where a share holds the file.
    :param ip: the container's address, which stands in for "localhost" on it; ``""`` leaves that as it is.
    :param shares: folders that both sides see.
    :raises UrlRefused: with the reason.
    """
    if len(url) > LENGTH_LIMIT:
        raise UrlRefused(f"a URL of {len(url)} characters is too long")
    if not url.isprintable() or " " in url:
        raise UrlRefused("the URL contains characters that no URL has")
    if not _SCHEME.match(url):
        raise UrlRefused("the text is not a URL")
    scheme, _, rest = url.partition(":")
    scheme = scheme.lower()
    if scheme == "file":
        path = _host_path(_path_of(url), shares)
        return "file://" + quote(path)
    if scheme not in schemes:
        raise UrlRefused(f"URLs that begin with {scheme[:20]}: are not opened on this host")
    if scheme in ("http", "https", "ftp") and not _has_host(url):
        raise UrlRefused("the URL names no host")
    if not rest.strip("/"):
        raise UrlRefused("the URL is empty")
    match = _LOCAL_HOST.fullmatch(url)
    if not ip or match is None or int((match["port"] or ":0")[1:]) > _PRIVILEGED:
        return url
    address = f"[{ip}]" if ":" in ip else ip
    return f"{match['head']}{address}{match['port'] or ''}{match['tail'] or ''}"


def file_for_container(text: str, shares: Iterable[Share]) -> str:
    """What a container is told of a file or URL that the user wants to open in it.

    :param text: an absolute path of the host, a ``file:`` URL, or another URL.
    :returns: the path inside where a share holds the file. Everything else goes as it is, ``file:`` URLs as
        paths (garcon.md §5.2): a container may well see the same path.
    """
    if text[:5].lower() == "file:":
        text = _path_of(text)
    if not text.startswith("/"):
        return text
    path = posixpath.normpath(text)
    for share in _longest_first(shares, key="host"):
        if (rest := _below(path, share.host)) is not None:
            return posixpath.join(share.inside, rest) if rest else share.inside
    return text


def _host_path(path: str, shares: Iterable[Share]) -> str:
    if ".." in path.split("/"):
        raise UrlRefused("the file's path contains ..")
    path = posixpath.normpath(path)
    for share in _longest_first(shares, key="inside"):
        if (rest := _below(path, share.inside)) is not None:
            return posixpath.join(share.host, rest) if rest else share.host
    raise UrlRefused("the file lies in no folder that the container shares with the host")


def _path_of(url: str) -> str:
    """The absolute path of a ``file:`` URL of this machine."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UrlRefused("the text is not a URL") from error
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise UrlRefused("the URL names no file of this machine")
    return path


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _longest_first(shares: Iterable[Share], *, key: str) -> list[Share]:
    return sorted(shares, key=lambda share: -len(getattr(share, key)))


def _below(path: str, directory: str) -> str | None:
    """The part of a path below a directory, ``""`` for itself, ``None`` where it lies elsewhere."""
    if path == directory:
        return ""
    prefix = directory.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None
