"""Which files of a container are documents, by their names: an allow-list of the host's MIME types.

The patterns of names are those of the host's shared MIME database (shared-mime-info specification, ``globs2``).
Without that database Python's own few types have to do.
"""

from __future__ import annotations

import fnmatch
import mimetypes
import os
from collections.abc import Iterable, Iterator

from guestlink import xdg

_FAMILIES = (
    "audio/", "image/", "text/", "video/",
    "application/vnd.oasis.opendocument.", "application/vnd.openxmlformats-officedocument.",
)  # fmt: skip
_DOCUMENTS = frozenset(
    "application/" + name
    for name in (
        "epub+zip gzip json ld+json msword ogg pdf pgp-encrypted pgp-signature rtf schema+json toml "
        "vnd.comicbook+zip vnd.ms-excel vnd.ms-powerpoint vnd.ms-works vnd.rar vnd.wordperfect "
        "x-7z-compressed x-abiword x-bibtex x-brotli x-bzip x-bzip-compressed-tar x-bzip2 "
        "x-bzip2-compressed-tar x-bzpdf x-cbr x-cbz x-compressed-tar x-cpio x-fictionbook+xml x-gnumeric "
        "x-gzip x-gzpdf x-krita x-lz4 x-lz4-compressed-tar x-lzip x-lzip-compressed-tar x-lzma "
        "x-lzma-compressed-tar x-lzpdf x-matroska x-mobipocket-ebook x-rar x-subrip x-tar x-xz "
        "x-xz-compressed-tar x-xzpdf x-yaml x-zip-compressed-fb2 x-zstd-compressed-tar yaml zip zstd"
    ).split()
)
_ACTIVE = frozenset(
    "image/svg+xml image/svg+xml-compressed image/x-bzeps image/x-eps image/x-gzeps "
    "text/cache-manifest text/ecmascript text/html text/javascript text/jscript text/tcl "
    "text/vbscript text/x-component text/x-dbus-service text/x-gdscript text/x-lua "
    "text/x-ms-regedit text/x-perl text/x-python text/x-python2 text/x-python3 text/x-qml "
    "text/x-ruby text/x-sh text/x-shellscript text/x-systemd-unit text/x-tcl text/x-uri text/xml".split()
)
"""Types of the families that are programs, or pages that run scripts."""


def is_document(name: str) -> bool:
    """Whether the host opens a file with this name: every type that the name may mean is on the allow-list."""
    found = set(types_of(name, _patterns())) or _known_to_python(name)
    return bool(found) and all(map(_is_allowed, found))


def types_of(name: str, patterns: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The MIME types that a file name may mean.

    :param patterns: MIME types and patterns, as in ``("text/plain", "*.txt")``; upper and lower case are the same.
    """
    name = name.lower()
    for kind, pattern in patterns:
        pattern = pattern.lower()
        ending = pattern[1:]
        if pattern.startswith("*") and not any(char in ending for char in "*?["):
            if name.endswith(ending):
                yield kind
        elif fnmatch.fnmatchcase(name, pattern):
            yield kind


def _is_allowed(kind: str) -> bool:
    return kind in _DOCUMENTS or (kind.startswith(_FAMILIES) and kind not in _ACTIVE and "macro" not in kind)


def _patterns() -> Iterator[tuple[str, str]]:
    """The patterns of the host's MIME database."""
    for directory in (xdg.data_home(), *xdg.data_dirs()):
        try:
            with open(f"{directory}/mime/globs2", encoding="utf-8", errors="replace") as stream:
                for line in stream:
                    fields = line.rstrip("\n").split(":")
                    if len(fields) >= 3 and not line.startswith("#"):
                        yield fields[1].lower(), fields[2]
        except OSError:
            continue


def _known_to_python(name: str) -> set[str]:
    kind, _ = mimetypes.guess_type(
        "name" + os.path.splitext(name)[1].lower()
    )  # Without the name: it might be a URL.
    return {kind} if kind else set()
