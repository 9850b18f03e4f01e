"""Decides which URLs of a container the host opens, and translates URLs and paths between both. Pure
(chromeos-garcon.md §6.15, §7.6; RFC 6068)."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Collection, Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from guestlink.errors import GuestlinkError

LENGTH_LIMIT = 100_000
"""Characters of a URL to open: Linux limits one argument to 128 KiB; browsers accept more."""

_LOCAL_HOST = re.compile(
    r"(?P<head>[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?)(?P<host>localhost|127\.0\.0\.1)(?P<port>:\d{1,5})?(?P<tail>[/?#].*)?",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WEB_NAME = re.compile(r"www\.[^/?#\s]", re.IGNORECASE)
"""Beginning of a text without a scheme that desktops open as a web page."""
_WEB_SCHEMES = frozenset({"http", "https", "ftp"})
"""Schemes whose URLs name a host (URL Standard §4.2, "special schemes")."""
_LETTER_FIELDS = frozenset({"to", "cc", "bcc", "subject", "body", "keywords", "in-reply-to", "references"})
"""Fields that a ``mailto:`` URL may set; some programs attach the host's file that a field ``attach`` names."""
_AROUND = "".join(map(chr, range(0x21)))
"""Characters that the URL Standard (§4.4) strips from both ends: control characters and spaces."""
_PRIVILEGED = 1023
"""Highest port for which the container's address replaces localhost. A forwarder, if there is one, forwards higher
ports under the same number (chromeos-garcon.md §7.6)."""


NOT_SHARED = "the file is in no folder that the container shares with the host"


class UrlRefused(GuestlinkError):
    """The host does not open the URL; the container gets the message."""


class Share(NamedTuple):
    """A folder of the host that a container sees; both are absolute paths."""

    host: str
    inside: str


def translate_url(
    url: str, *, schemes: Collection[str], ip: str = "", shares: Iterable[Share] = (), name: str = "NAME"
) -> str:
    """Translate a container's URL into the URL that the host opens.

    :param schemes: allowed schemes, in lower case; ``file`` is always allowed for files in a share.
    :param ip: the container's address, which replaces "localhost"; ``""`` to keep "localhost".
    :param shares: folders that both sides see.
    :param name: the container's name, for messages.
    :raises UrlRefused: the host does not open the URL.
    """
    url = _as_url(url)
    scheme, _, rest = url.partition(":")
    if scheme == "file":
        path = _host_path(_path_of(url), shares, name)
        return file_url(path, url)
    if scheme not in schemes:
        raise UrlRefused(
            f"URLs that begin with {scheme[:20]}: are not opened on this host",
            hint="on the host, the setting url_schemes in guestlink-host.conf lists what is",
        )
    if scheme in _WEB_SCHEMES:
        _check_host(url)
    if not rest.strip("/") and scheme != "mailto":  # RFC 6068 §2: a letter to nobody yet
        raise UrlRefused("the URL is empty", hint="write the address after the scheme")
    if scheme == "mailto":
        return _letter(url)
    match = _LOCAL_HOST.fullmatch(url)
    if not ip or match is None or int((match["port"] or ":0")[1:]) > _PRIVILEGED:
        return url
    address = f"[{ip}]" if ":" in ip else ip
    return f"{match['head']}{address}{match['port'] or ''}{match['tail'] or ''}"


def _letter(url: str) -> str:
    """A ``mailto:`` URL with the fields of a plain letter alone.

    Mail programs differ in where they see a field's beginning; so ``?``, ``&``, ``;`` and ``#`` are percent-encoded
    wherever RFC 6068 sees none.
    """
    address, _, query = url.partition("?")
    fields = [field.partition("=") for field in query.split("&")]
    kept = [f"{name}={_encoded(value)}" for name, _, value in fields if unquote(name).lower() in _LETTER_FIELDS]
    return _encoded(address) + ("?" + "&".join(kept) if kept else "")


def _encoded(text: str) -> str:
    return "".join(quote(char) if char in "?&;#" else char for char in text)


def file_url(path: str, like: str) -> str:
    """The URL of a file, with the query and the fragment of another URL: the place in a document."""
    parts = urlsplit(like)
    query, fragment = parts.query and f"?{parts.query}", parts.fragment and f"#{parts.fragment}"
    return f"file://{quote(path.encode(errors='surrogateescape'))}{query}{fragment}"


def _as_url(text: str) -> str:
    """Normalise a URL that a program or a person wrote, so that every opener accepts it.

    As in browsers (URL Standard §4.4 and §4.5): strip surrounding space, percent-encode inner spaces and invisible
    characters, write the scheme in lower case, put two slashes after the scheme of a web page (``https:e.org``),
    and prepend ``http://`` to ``www.``.
    """
    url = text.strip(_AROUND)
    if _WEB_NAME.match(url):
        url = f"http://{url}"
    if not _SCHEME.match(url):
        if url.startswith(("/", "./", "../", "~")):
            raise UrlRefused(f"{_shown(url)} is neither a file of the container nor a URL", hint="check the path")
        raise UrlRefused(
            f"{_shown(url)} is not a URL" if url else "there is no URL",
            hint="write it with its scheme, as in https://example.org",
        )
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in url):
        raise UrlRefused("the URL contains control characters", hint="percent-encode or remove them")
    scheme, _, rest = url.partition(":")
    if scheme.lower() in _WEB_SCHEMES:
        rest = "//" + rest.lstrip("/\\")
    rest = "".join(char if char.isprintable() and char != " " else quote(char, errors="replace") for char in rest)
    if len(rest) > LENGTH_LIMIT:
        raise UrlRefused(
            f"the URL has {len(rest)} characters; the host opens at most {LENGTH_LIMIT}",
            hint="put the data into a file, and open the file",
        )
    return f"{scheme.lower()}:{rest}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")


def file_for_container(text: str, shares: Iterable[Share]) -> str:
    """Translate a file or URL that the user wants to open in a container.

    :param text: an absolute path of the host, a ``file:`` URL, or another URL.
    :returns: the path inside if a share holds the file. Everything else is unchanged, except that ``file:`` URLs
        become paths (chromeos-garcon.md §5.2): the container may see the same path.
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


def _host_path(path: str, shares: Iterable[Share], name: str) -> str:
    if ".." in path.split("/"):
        raise UrlRefused("the file's path contains ..", hint="write the path without ..")
    path = posixpath.normpath(path)
    for share in _longest_first(shares, key="inside"):
        if (rest := _below(path, share.inside)) is not None:
            return posixpath.join(share.host, rest) if rest else share.host
    raise UrlRefused(NOT_SHARED, hint=_how_to_share(name, posixpath.dirname(path)))


def _how_to_share(name: str, folder: str) -> str:
    folder = shlex.quote(folder)
    return f"on the host, `guestlink-host share {name} FOLDER {folder}` records which folder is mounted as {folder}"


def _path_of(url: str) -> str:
    """The absolute path of a ``file:`` URL of this machine."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UrlRefused(f"{_shown(url)} is not a URL of a file", hint="write file:///PATH") from error
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise UrlRefused("the URL names no file of this machine", hint="write file:///PATH")
    return path


def _check_host(url: str) -> None:
    try:
        host = urlsplit(url).hostname
    except ValueError as error:
        raise UrlRefused("the URL's host cannot be read", hint="check it; brackets come in pairs") from error
    if not host:
        raise UrlRefused("the URL names no host", hint="write it as in https://example.org")
    if " " in (plain := unquote(host)) or not plain.isprintable():
        raise UrlRefused("the URL's host contains a space or an invisible character", hint="remove that character")


def _longest_first(shares: Iterable[Share], *, key: str) -> list[Share]:
    return sorted(shares, key=lambda share: -len(getattr(share, key)))


def _below(path: str, directory: str) -> str | None:
    """A path relative to a directory: ``""`` for the directory itself, ``None`` if the path is outside."""
    if path == directory:
        return ""
    prefix = directory.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None
