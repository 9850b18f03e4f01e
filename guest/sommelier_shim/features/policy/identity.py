"""Windows' application ids and titles for the host (chromeos-sommelier.md §2.5).

ChromeOS matches ``org.chromium.guest_os.VM.wayland.ID`` with the desktop entries that garcon has published, so the
form must be exact. A desktop on a Linux host matches an id first with the name of a launcher and then with its
``StartupWMClass``; guestlink-host names its launchers ``guestlink-NAME-ID`` and sets ``StartupWMClass`` to the
plain id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sommelier_shim.core.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.core.layouts import MessageLayout, request
from sommelier_shim.core.relay import Flow, Hook
from sommelier_shim.core.wire import MESSAGE_LIMIT, Buffer

CHROMEOS_PREFIX = "org.chromium.guest_os"
_TEXT_LIMIT = MESSAGE_LIMIT - 16
"""Maximum size of a string in bytes for a message that every libwayland accepts."""

APP_IDS: FeatureKey[dict[int, str]] = FeatureKey("application ids", dict)
"""The application ids that the client has set, by client id of the window."""
_SHOWN = 128
"""Maximum number of characters of an id to keep for ``guestlink status``."""
_PLAIN_LENGTH = 100
"""Maximum length of an id in a launcher's file name; the file name of a longer id contains a hash."""

Naming: TypeAlias = Callable[[str], str]
"""Converts a program's application id to the one for the host."""
EntryTest: TypeAlias = Callable[[str], bool]
"""Whether the container has a desktop entry with this id."""


def chromeos_naming(vm: str) -> Naming:
    """The naming for ChromeOS.

    :param vm: the middle part of the id; the container's token on a Chromebook.
    """

    def name(app_id: str) -> str:
        return f"{CHROMEOS_PREFIX}.{vm}.wayland.{app_id}"

    return name


def linux_naming(container: str, has_entry: EntryTest) -> Naming:
    """The naming for a Linux host: the launcher's name if this container has a desktop entry with the id, otherwise
    the plain id, which is the ``StartupWMClass`` of the launcher if its desktop entry has another name.

    :param container: the container's name on the host; with "" all ids stay plain.
    :param has_entry: whether the container has a desktop entry ``ID.desktop``.
    """

    def name(app_id: str) -> str:
        is_plain = "-" not in container and _is_plain(app_id)
        return f"guestlink-{container}-{app_id}" if container and is_plain and has_entry(app_id) else app_id

    return name


def _is_plain(app_id: str) -> bool:
    """Whether the launcher's file name contains the id itself, not a hash of it."""
    letters = app_id.replace("_", "").replace(".", "").replace("-", "")
    ends_like_a_hash = app_id[-17:-16] == "_" and not app_id[-16:].strip("0123456789abcdef")
    fits = app_id[:1].isalnum() and len(app_id) <= _PLAIN_LENGTH and not ends_like_a_hash
    return fits and letters.isascii() and letters.isalnum()


_WINDOWS = ("xdg_toplevel", "zxdg_toplevel_v6")
_SET_DBUS_PROPERTIES = request("gtk_surface1", "set_dbus_properties")
_read_dbus_properties = _SET_DBUS_PROPERTIES.decoder("application_id")


def install(hooks: Hooks, naming: Naming, title_prefix: str) -> None:
    """Install the hooks that change application ids and titles."""
    for window in _WINDOWS:
        hooks.on_request(window, "set_app_id", _rename(request(window, "set_app_id"), naming), Phase.REPLACE)
        hooks.on_request(window, "destroy", _forget, Phase.OBSERVE)
    set_class = request("wl_shell_surface", "set_class")
    hooks.on_request("wl_shell_surface", "set_class", _rename(set_class, naming), Phase.REPLACE)
    set_app_id = request("xdg_activation_token_v1", "set_app_id")
    token_hook = _rename(set_app_id, naming, is_shown=False)
    hooks.on_request("xdg_activation_token_v1", "set_app_id", token_hook, Phase.REPLACE)
    hooks.on_request("gtk_surface1", "set_dbus_properties", _keep_id_alone(naming), Phase.REPLACE)
    if title_prefix:
        for window in (*_WINDOWS, "wl_shell_surface"):
            hook = _add_prefix(request(window, "set_title"), title_prefix)
            hooks.on_request(window, "set_title", hook, Phase.REPLACE)


def _rename(message: MessageLayout, naming: Naming, *, is_shown: bool = True) -> Hook:
    """The hook of a request whose only argument is an application id.

    :param is_shown: whether ``guestlink status`` shows the id.
    """
    read_text = message.decoder(*message.arguments)

    def rename(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        app_id = _text(*read_text(flow.buffer, at, stop))
        if is_shown:
            APP_IDS.of(flow.relay)[object_id] = app_id[:_SHOWN]
        return _with_text(message, object_id, app_id, naming(app_id))

    return rename


def _keep_id_alone(naming: Naming) -> Hook:
    """The hook of set_dbus_properties: keep only the application id. The other arguments are names on the
    container's session bus; on the host's bus they mean nothing, or another program's windows and menus."""

    def keep_id_alone(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        (app_id,) = _read_dbus_properties(flow.buffer, at, stop)
        renamed = None
        if app_id is not None:
            renamed = shortened(naming(_text(app_id)), _TEXT_LIMIT - 20)
        return _SET_DBUS_PROPERTIES.encode(object_id, renamed, *[None] * 5)

    return keep_id_alone


def _forget(flow: Flow, object_id: int, at: int, stop: int) -> None:
    APP_IDS.of(flow.relay).pop(object_id, None)


def _add_prefix(message: MessageLayout, prefix: str) -> Hook:
    """The hook of a request whose only argument is a title."""
    read_text = message.decoder(*message.arguments)

    def add_prefix(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        title = _text(*read_text(flow.buffer, at, stop))
        return _with_text(message, object_id, title, prefix + title)

    return add_prefix


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="surrogateescape")


def _with_text(message: MessageLayout, object_id: int, old: str, new: str) -> Buffer | None:
    return None if new == old else message.encode(object_id, shortened(new, _TEXT_LIMIT))


def shortened(text: str, limit: int) -> bytes:
    """A text as UTF-8, truncated between characters to at most ``limit`` bytes."""
    data = text.encode(errors="surrogateescape").replace(b"\0", b"")
    return data if len(data) <= limit else data[:limit].decode(errors="ignore").encode()
