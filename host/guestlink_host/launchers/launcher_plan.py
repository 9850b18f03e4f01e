"""Makes the launcher files of a container's applications. Pure.

Nothing that a container sends is executed or becomes a path. A launcher's command is always our own program with
the container's name and the application's id; every other value is text that
:mod:`guestlink_host.launchers.applications` has cleaned. desktop-file-validate reports nothing but unusual MIME
types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from guestlink_host.launchers.applications import Application, Texts
from guestlink_host.names import file_stem

OWNER_KEY = "X-Guestlink-Container"
"""Key that marks a launcher as ours and names its container: only files with this key are replaced or removed."""
ID_KEY = "X-Guestlink-Id"
NO_ICON = "application-x-executable"
"""Icon name for an application without an icon: every icon theme has this generic one."""

_TAKES_FILES = re.compile(r"(?:[^%]|%[^fFuU])*%[fFuU]")
_SAFE_WORD = re.compile(r"[A-Za-z0-9_./@:+,=%-]+")
_CATEGORIES = (
    ("x-scheme-handler/http", "Network"),
    ("x-scheme-handler/mailto", "Network"),
    ("audio/", "AudioVideo"),
    ("video/", "AudioVideo"),
    ("image/", "Graphics"),
    ("application/vnd.oasis.opendocument", "Office"),
    ("application/vnd.openxmlformats", "Office"),
)
"""Categories by MIME type, because the protocol has none and most menus hide an application without a main one."""


LAUNCHER_QUOTA = 16 * 1024 * 1024
"""Bytes of launchers that one container may have on the user's disk. Names that show their container, and encoded
ids, can be ten times as long as in the list."""


class Diff(NamedTuple):
    """The files to write and to remove, so that the present files become the wanted ones."""

    write: tuple[str, ...]
    remove: tuple[str, ...]


def diff(present: Mapping[str, object], wanted: Mapping[str, object]) -> Diff:
    """Compare two snapshots: by file name, any comparable value (a content, a digest)."""
    return Diff(
        tuple(name for name, value in wanted.items() if present.get(name) != value),
        tuple(name for name in present if name not in wanted),
    )


def plan(
    container: str,
    applications: Iterable[Application],
    program: Sequence[str],
    without_icon: Collection[str] = (),
    shows_container: Callable[[Application], bool] = lambda application: False,
    mime_types: Collection[str] | None = None,
    *,
    offers_uninstall: bool = False,
    host_classes: Collection[str] = (),
) -> dict[str, bytes]:
    """The launchers of a container: content by file name.

    :param container: its checked name.
    :param program: the words that start guestlink-host, the first an absolute path.
    :param without_icon: ids of the applications that are known to have no icon.
    :param shows_container: whether the launcher of this application shows its container's name.
    :param mime_types: the types that launchers may carry; ``None`` for all.
    :param offers_uninstall: whether launchers of applications that can be uninstalled offer that.
    :param host_classes: the classes of windows of the host's own applications, in small letters.
    :returns: the first of them, as far as :data:`LAUNCHER_QUOTA` holds them.
    """
    planned: dict[str, bytes] = {}
    size = 0
    for application in applications:
        content = launcher(
            container,
            application,
            program,
            has_icon=application.id not in without_icon,
            shows_container=shows_container(application),
            mime_types=mime_types,
            offers_uninstall=offers_uninstall and bool(application.package_id),
            host_classes=host_classes,
        )
        size += len(content)
        if size > LAUNCHER_QUOTA:
            break
        planned[f"{file_stem(container, application.id)}.desktop"] = content
    return planned


def launcher(
    container: str,
    application: Application,
    program: Sequence[str],
    *,
    has_icon: bool,
    shows_container: bool,
    mime_types: Collection[str] | None,
    offers_uninstall: bool,
    host_classes: Collection[str],
) -> bytes:
    """The content of one launcher file."""
    stem = file_stem(container, application.id)
    lines = ["[Desktop Entry]", "Type=Application"]
    suffix = f" ({container})" if shows_container else ""
    lines += _texts("Name", ((locale, name + suffix) for locale, name in application.names))
    lines += _texts("Comment", _comments(application))
    lines += [
        f"Exec={_escape(_launch_command(container, application, program))}",
        f"TryExec={_escape(program[0])}",
        f"Icon={stem if has_icon else NO_ICON}",
        "Terminal=false",
        f"Categories={_category(application.mime_types)};X-Guestlink;",
    ]
    if carried := [word for word in application.mime_types if mime_types is None or word in mime_types]:
        lines.append(f"MimeType={_list(carried)}")
    lines += [f"{_key('Keywords', locale)}={_list(words)}" for locale, words in application.keywords]
    if application.no_display:
        lines.append("NoDisplay=true")
    lines.append(f"StartupNotify={'true' if application.startup_notify else 'false'}")
    # The app id of a Wayland window is usually the id of its own desktop file, which is not this file's name.
    # The host's own windows have such ids, too, and GNOME's dock would show them as the container's application:
    # it looks for a StartupWMClass before it looks for a file's name (gnome-shell, src/shell-window-tracker.c).
    window_class = application.startup_wm_class or application.id
    if window_class.casefold() not in host_classes:
        lines.append(f"StartupWMClass={_escape(window_class)}")
    lines += [f"{OWNER_KEY}={container}", f"{ID_KEY}={_escape(application.id)}"]
    if offers_uninstall:
        command = _command(container, application, [*program, "uninstall", "--ask"])
        lines += [
            "Actions=uninstall;",
            "",
            "[Desktop Action uninstall]",
            "Name=Uninstall",
            f"Exec={_escape(command)}",
        ]
    return ("\n".join(lines) + "\n").encode()


def _comments(application: Application) -> Texts:
    """The comments without those that only repeat the name in their locale: desktop-file-validate reports those."""
    names = dict(application.names)
    comments = tuple(
        (locale, text) for locale, text in application.comments if text.lower() != names.get(locale, "").lower()
    )
    return (
        comments if comments and not comments[0][0] else ()
    )  # The specification requires a default beside translations.


def takes_files(command: str) -> bool:
    """Whether a command has a field code for files or URLs."""
    return _TAKES_FILES.match(command) is not None


def _launch_command(container: str, application: Application, program: Sequence[str]) -> str:
    command = _command(container, application, [*program, "launch"])
    return f"{command} %U" if takes_files(application.exec) else command


def _command(container: str, application: Application, beginning: Sequence[str]) -> str:
    """The value of an Exec key: words, the container's name, and the application's id."""
    # The Exec key is ASCII, and an id with a leading hyphen looks like an option: percent-encode these ids.
    if application.id.isascii() and not application.id.startswith("-"):
        words = [*beginning, container, application.id]
    else:
        encoded = quote(application.id, safe="")
        words = [*beginning, "--percent-encoded", container, re.sub("^-", "%2D", encoded)]
    return " ".join(_quote(word) for word in words)


def _quote(word: str) -> str:
    """One argument by the rules of the Exec key (Desktop Entry Specification, "The Exec key")."""
    word = word.replace("%", "%%")
    return word if _SAFE_WORD.fullmatch(word) else '"' + re.sub(r'(["`$\\])', r"\\\1", word) + '"'


def _escape(text: str) -> str:
    """Escape a value of type string.

    :mod:`guestlink_host.launchers.applications` has removed control characters.
    """
    text = text.replace("\\", "\\\\")
    return "\\s" + text[1:] if text.startswith(" ") else text


def _list(words: Iterable[str]) -> str:
    return "".join(_escape(word).replace(";", "\\;") + ";" for word in words)


def _key(key: str, locale: str) -> str:
    return f"{key}[{locale}]" if locale else key


def _texts(key: str, texts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{_key(key, locale)}={_escape(text)}" for locale, text in texts]


def _category(mime_types: Sequence[str]) -> str:
    for beginning, category in _CATEGORIES:
        if any(mime_type.startswith(beginning) for mime_type in mime_types):
            return category
    return "Utility"
